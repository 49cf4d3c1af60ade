"""The options that make an image of a Bento, read into one value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from openllm.errors import ConfigurationError

if TYPE_CHECKING:
    from openllm.bento.containerfile import ContainerOptions

F = TypeVar("F", bound=Callable[..., Any])
# Parameter names and flags; each goes with --containerize only.
_FLAGS = {
    "image_name": "--image-tag",
    "engine": "--engine",
    "base_image": "--base-image",
    "system_packages": "--system-packages",
    "dockerfile_parts": "--dockerfile-part",
}


def container_options(function: F) -> F:
    """--containerize and what goes with it."""
    for option in reversed(
        (
            click.option("--containerize", is_flag=True, help="Make an image of the Bento, too."),
            click.option("-t", "--image-tag", "image_name", metavar="NAME[:TAG]", help="The image's name."),
            click.option("--engine", metavar="ENGINE", help="docker, podman or buildah; by default the first found."),
            click.option("--base-image", metavar="IMAGE", help="A Debian image with Python; by default python:*-slim."),
            click.option(
                "--system-packages", metavar="PACKAGE,...", help="Debian packages to install, separated by commas."
            ),
            click.option(
                "--dockerfile-part",
                "dockerfile_parts",
                multiple=True,
                metavar="BLOCK=FILE",
                help="Lines of a Dockerfile, put in at build or runtime; may be repeated.",
            ),
        )
    ):
        function = option(function)
    return function


def given_container(options: dict[str, Any]) -> ContainerOptions | None:
    """Take the options out of `options`; None without --containerize.

    Everything that can be known beforehand is checked: a build takes long. Errors: ConfigurationError, BuildError.
    """
    values = {name: options.pop(name) for name in _FLAGS}
    if not options.pop("containerize"):
        if stray := [flag for name, flag in _FLAGS.items() if values[name]]:
            raise ConfigurationError(f"{stray[0]} goes with --containerize.", hint="Add it.")
        return None
    from openllm.bento.container import find_engine
    from openllm.bento.containerfile import ContainerOptions, read_part

    said = {"base_image": values["base_image"]} if values["base_image"] is not None else {}
    packages = values["system_packages"]
    found = ContainerOptions(
        name=values["image_name"],
        engine=values["engine"],
        system_packages=tuple(packages.split(",")) if packages is not None else (),
        parts=dict(read_part(text) for text in values["dockerfile_parts"]),
        **said,
    )
    find_engine(found.engine)
    return found
