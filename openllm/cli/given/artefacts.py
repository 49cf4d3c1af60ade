"""The options that make something of a built Bento: an image, in a registry, too; manifests for
Kubernetes; a copy on BentoCloud.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from openllm.cli.given.options import F, with_options
from openllm.errors import ConfigurationError

if TYPE_CHECKING:
    from openllm.bento.cloud.account import Account
    from openllm.bento.image.dockerfile import ContainerOptions
    from openllm.bento.kubernetes.options import KubernetesOptions

# Forms of manifests, by the names of their options.
_FORMS = ("k8s", "helm", "kserve")
# Parameter names and flags; each goes with --containerize only.
_FLAGS = {
    "image_name": "--image-tag",
    "engine": "--engine",
    "base_image": "--base-image",
    "system_packages": "--system-packages",
    "platform": "--platform",
    "attest": "--attest",
    "dockerfile_parts": "--dockerfile-part",
}


def container_options(function: F) -> F:
    """--containerize and what goes with it."""
    return with_options(
        function,
        click.option("--containerize", is_flag=True, help="Make an image of the Bento, too."),
        click.option(
            "-t", "--image-tag", "image_name", metavar="NAME[:TAG]", help="The image's name."
        ),
        click.option(
            "--engine",
            metavar="ENGINE",
            help="docker, podman or buildah; by default the first found.",
        ),
        click.option(
            "--base-image",
            metavar="IMAGE",
            help="A Debian image with Python; by default python:*-slim.",
        ),
        click.option(
            "--system-packages",
            metavar="PACKAGE,...",
            help="Debian packages to install, separated by commas.",
        ),
        click.option(
            "--platform",
            metavar="OS/ARCH",
            help="The image's platform; by default the engine's own.",
        ),
        _directory(
            "--attest", "Write the image's SLSA provenance and its bill of materials there."
        ),
        click.option(
            "--dockerfile-part",
            "dockerfile_parts",
            multiple=True,
            metavar="BLOCK=FILE",
            help="Lines of a Dockerfile, put in at build or runtime; may be repeated.",
        ),
        click.option(
            "--push",
            is_flag=True,
            help=(
                "With --containerize, send the image to its registry and print its digest; without,"
                " send the Bento and its models to BentoCloud."
            ),
        ),
    )


def kubernetes_options(function: F) -> F:
    """--k8s, --helm, --kserve, and --k8s-set for all three."""
    return with_options(
        function,
        _directory("--k8s", "Write Kubernetes manifests for the image of this Bento there."),
        _directory("--helm", "Write a Helm chart of them there."),
        _directory("--kserve", "Write KServe's ServingRuntime and InferenceService there."),
        click.option(
            "--k8s-set",
            "k8s_set",
            multiple=True,
            metavar="KEY=VALUE",
            help=(
                "How it is run there: replicas=1..3, scaler=hpa|keda|none, prometheus=URL,"
                " monitor=true, picker=SERVICE, hosts=2, any-user=true, api-key=SECRET[:KEY],"
                " hf-token=SECRET[:KEY], storage-class=NAME, node=LABEL=VALUE,"
                " toleration=KEY[=VALUE][:EFFECT]; repeatable."
            ),
        ),
    )


def _directory(flag: str, about: str) -> Callable[[F], F]:
    """An option for a directory that something is written to."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option(flag, type=kind, metavar="DIRECTORY", help=about)


@attrs.frozen
class Artefacts:
    """What is to be made of a Bento once it is built: an image, manifests that name one, a copy for
    an account. `folders`: where manifests go, by the name of their form.
    """

    container: ContainerOptions | None
    folders: Mapping[str, Path]
    image: str | None
    kubernetes: KubernetesOptions | None = None
    account: Account | None = None


def given_artefacts(options: dict[str, Any]) -> Artefacts:
    """Take the options of an image, of manifests and of a push out of `options`.

    Everything that can be known beforehand is checked, a token too: a build takes long.
    Errors: ConfigurationError, BuildError, DeployError.
    """
    values = {name: options.pop(name) for name in _FLAGS}
    wanted, image, push = options.pop("containerize"), values["image_name"], options.pop("push")
    folders = {form: path for form in _FORMS if (path := options.pop(form)) is not None}
    kubernetes = _kubernetes(options.pop("k8s_set"), folders)
    alone = {"image_name"} if folders else set()
    if not wanted and (
        stray := [flag for name, flag in _FLAGS.items() if values[name] and name not in alone]
    ):
        raise ConfigurationError(f"{stray[0]} goes with --containerize.", hint="Add it.")
    if image is not None:
        from openllm.bento.image.dockerfile import check_image

        check_image(image, "an image's name")
    if wanted and push and image is None:
        raise ConfigurationError(
            "--push needs the name of the image in a registry.",
            hint="Add -t REGISTRY/NAME:TAG.",
        )
    container = _container(values, push) if wanted else None
    account = None
    if push and not wanted:
        from openllm.bento.cloud.account import connect

        account = connect()
    return Artefacts(container, folders, image, kubernetes, account)


def _kubernetes(texts: tuple[str, ...], folders: Mapping[str, Path]) -> KubernetesOptions | None:
    """None where no manifests are wanted. Errors: ConfigurationError, BuildError."""
    if not folders:
        if texts:
            raise ConfigurationError(
                "--k8s-set goes with --k8s, --helm or --kserve.", hint="Add one of them."
            )
        return None
    from openllm.bento.kubernetes.options import KubernetesOptions

    return KubernetesOptions.read(texts)


def _container(values: dict[str, Any], push: bool) -> ContainerOptions:
    from openllm.bento.image.dockerfile import ContainerOptions, read_part
    from openllm.bento.image.engine import find_engine

    said = {"base_image": values["base_image"]} if values["base_image"] is not None else {}
    packages = values["system_packages"]
    found = ContainerOptions(
        name=values["image_name"],
        engine=values["engine"],
        system_packages=tuple(packages.split(",")) if packages is not None else (),
        platform=values["platform"],
        push=push,
        attest=values["attest"],
        parts=dict(read_part(text) for text in values["dockerfile_parts"]),
        **said,
    )
    find_engine(found.engine)
    return found
