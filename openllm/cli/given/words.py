"""What a shell may offer for a word that is being typed: models, stored tags, running servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from openllm.config.names import is_path
from openllm.config.recipes import recipe_names
from openllm.config.settings import Settings

Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _offer(words: Callable[[Path], Iterable[str]], *, paths: bool = False) -> Offer:
    """An offer of `words` (of BentoML's home); of directories for what begins like a path."""

    def offer(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
        if paths and is_path(begun):
            return [CompletionItem(begun, type="dir")]
        home = Settings.from_env().bentoml_home
        return [
            CompletionItem(word) for word in dict.fromkeys(words(home)) if word.startswith(begun)
        ]

    return offer


# What the offers read is imported by them: every command declares some, few are ever asked for.
def _models(home: Path) -> Iterator[str]:
    yield from _families(home)
    yield from recipe_names()
    yield from _tags(home)
    for folder in sorted((home / "bentos").glob("*/*")):
        if folder.is_dir():
            yield f"{folder.parent.name}:{folder.name}"


def _families(home: Path) -> Iterable[str]:
    from openllm import models

    return models.names()


def _tags(home: Path) -> Iterator[str]:
    from openllm.weights.aliases import read_aliases

    yield from read_aliases(home)
    for path in sorted((home / "models").glob("*/*/model.yaml")):  # sizes are measured elsewhere
        yield f"{path.parent.parent.name}:{path.parent.name}"


def _addresses(home: Path) -> Iterator[str]:
    from openllm.config.servers import running_servers

    return (server.url for server in running_servers(home))


def _servers(home: Path) -> Iterator[str]:
    from openllm.config.servers import running_servers

    for server in running_servers(home):
        yield from (str(server.port), *server.models)


offer_models = _offer(_models, paths=True)  # what `openllm start` takes
offer_families = _offer(_families)
offer_tags = _offer(_tags)  # of stored models
offer_addresses = _offer(_addresses)
offer_servers = _offer(_servers)  # what `openllm stop` takes
