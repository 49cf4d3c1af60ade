"""Pack a model and its service into a Bento."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openllm.cli.given.artefacts import (
    Artefacts,
    container_options,
    given_artefacts,
    kubernetes_options,
)
from openllm.cli.given.options import (
    FILE,
    SectionedCommand,
    format_option,
    given_spec,
    parse_pairs,
    spec_options,
)
from openllm.cli.given.specs import model_argument, print_specs, read_resources, read_specs
from openllm.cli.output import log_level, note, print_json
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size

if TYPE_CHECKING:
    from openllm.bento.build import BuildResult
    from openllm.bento.image.container import ContainerImage


@click.command(cls=SectionedCommand)
@model_argument
@spec_options()
@click.option("--bento-name", metavar="NAME", help="The Bento's name; by default the model's.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=parse_pairs,
    metavar="KEY=VALUE",
    help="A label; repeatable.",
)
@click.option(
    "--weights",
    type=click.Choice(("inside", "reference")),
    default="inside",
    show_default=True,
    help=(
        "Whether the Bento carries the weights, or names their commit on the Hub and fetches them"
        " at start."
    ),
)
@click.option(
    "--hashes",
    is_flag=True,
    help="Lock every package with its SHA-256, asked of pip's package index.",
)
@click.option(
    "--sign",
    type=FILE,
    metavar="KEY",
    help=(
        "Sign the Bento by this private key (elliptic, PEM), in the form of OpenSSF's model"
        " signing; OPENLLM_SIGN_PASSWORD may have its password."
    ),
)
@container_options
@kubernetes_options
@click.option(
    "--print-spec", is_flag=True, help="Print what the options come to as JSON, and exit."
)
@format_option("text", "tag", "json")
def command(
    model: str | None,
    recipe: Path | None,
    bento_name: str | None,
    weights: str,
    print_spec: bool,
    output: str,
    **options: Any,
) -> None:
    """Pack a model and its service into a Bento, and print the Bento's tag.

    The Bento carries weights, adapters, the options below and locked requirements; `bentoml serve
    TAG` answers like `openllm start` with the same options. The same input gives the same version,
    and then nothing is written again.

    \b
    openllm build demo
    openllm build ./my-model --bento-name my-model -o tag
    openllm build llama --model-id meta-llama/Llama-3.2-3B-Instruct --backend vllm
    openllm build -f recipe.yaml
    openllm build demo --containerize -t my/demo:1
    openllm build demo --containerize -t registry.example/demo:1 --push
    openllm build demo --k8s manifests/ -t my/demo:1 --k8s-set scaler=keda
    openllm build demo --helm chart/ -t my/demo:1
    openllm build demo --push
    openllm build demo --sign sign.key
    """
    artefacts = given_artefacts(options)
    hashes, key = options.pop("hashes"), options.pop("sign")
    labels = {key: str(value) for key, value in (options.pop("labels") or {}).items()}
    settings = Settings.from_env()
    named = (model, recipe, given_spec(options), settings)
    specs = read_specs(*named)
    if print_spec:
        print_specs(specs)
        return
    note(f"Building a Bento for {', '.join(spec.served_name for spec in specs)} ...")
    from openllm.bento.build import BuildOptions, build
    from openllm.bento.contents.signature import Signer
    from openllm.bento.serving.logs import configure_logging

    signer = Signer.of(key, settings.sign_password) if key else None
    # What is fetched, and how much room the disk needs, is said before it happens.
    configure_logging(log_level("info"))
    result = build(
        specs,
        BuildOptions(
            bento_name, labels, read_resources(*named), weights == "reference", hashes, signer
        ),
    )
    _print(result, output)
    tell = click.echo if output == "text" else note
    _make_artefacts(result.tag, artefacts, settings, tell)


def _print(result: BuildResult, output: str) -> None:
    if output == "tag":
        click.echo(result.tag)
    elif output == "json":
        print_json(
            {
                "tag": result.tag,
                "path": str(result.path),
                "size": result.size,
                "new": result.new,
                "models": [stored.tag for stored in result.models],
                "specs": [spec.to_dict() for spec in result.specs],
            }
        )
    else:
        done = "Built" if result.new else "Already built"
        click.echo(f"{done} {result.tag} ({readable_size(result.size)} with its models).")
        click.echo(f"Serve it: bentoml serve {result.tag}")


def _make_artefacts(
    tag: str, artefacts: Artefacts, settings: Settings, tell: Callable[[str], None]
) -> None:
    """Make them of the Bento `tag`; `tell` is given what a script may want to read. Errors:
    BuildError, DeployError.
    """
    image = artefacts.image or tag
    if artefacts.container is not None:
        from openllm.bento.image.container import containerize

        note(f"Making an image of {tag} ...")
        made = containerize(tag, artefacts.container)
        note(f"Made the image {made.name}.")
        _tell_image(made, tell)
        image = made.reference
    if artefacts.folders:
        _write_manifests(tag, image, artefacts, settings)
    if artefacts.account is not None:
        from openllm.bento.cloud.push import push

        push(artefacts.account, tag, note)
        note(f"Pushed {tag} to {artefacts.account.endpoint}.")


def _write_manifests(tag: str, image: str, artefacts: Artefacts, settings: Settings) -> None:
    """In each form that is wanted. Errors: BuildError."""
    from openllm.bento.kubernetes.helm import write_chart
    from openllm.bento.kubernetes.manifests import write_kserve, write_manifests

    forms = {"k8s": write_manifests, "helm": write_chart, "kserve": write_kserve}
    for form, folder in artefacts.folders.items():
        for path in forms[form](tag, image, folder, artefacts.kubernetes, settings):
            note(f"Wrote {path}.")


def _tell_image(made: ContainerImage, tell: Callable[[str], None]) -> None:
    """What became of an image: its digest, what was written about it, how large its parts are."""
    if made.digest is not None:
        tell(f"Pushed {made.reference}")
    for path in made.attestations:
        note(f"Wrote {path}.")
    if made.size is not None:
        for part, count in made.size.rows():
            note(f"{part:24}{readable_size(count):>12}")
        note(f"{made.size.ratio:.2f} times the base and the locked packages.")
