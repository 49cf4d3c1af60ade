"""Remove what nothing needs from the local store."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import click

from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.output import print_json, print_table
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.weights.aliases import read_aliases
from openllm.weights.fetching.leftovers import parted
from openllm.weights.hub import hub_cache
from openllm.weights.store import (
    StoredModel,
    freed_bytes,
    is_pulled,
    leftovers,
    list_store,
    needed_by,
    own_bytes,
    remove_model,
)

_BLOCK = 512  # bytes, of st_blocks
CUT_OFF_SECONDS = 86400.0  # unfinished work that nobody has touched for so long is not going on
_AGE = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class Age(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """30d, 12h, 2w."""

    name = "age"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if not (match := _AGE.fullmatch(value)):
            self.fail(f"{value!r} is no age: write 12h, 30d or 2w.", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


@attrs.frozen
class Unneeded:
    """Something that can go: what it is called, what that frees, why nothing needs it."""

    name: str
    size: int
    why: str
    remove: Callable[[], None]


@click.command()
@click.option("--older-than", type=Age(), help="Only what was stored longer ago, such as 30d.")
@click.option("--unused", is_flag=True, help="Also what was pulled and no Bento needs.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@format_option(*FORMATS)
def command(older_than: timedelta | None, unused: bool, dry_run: bool, output: str) -> None:
    """Remove what nothing needs from the local store, and say what that frees.

    That is: what a download, store or build left behind when it was cut off, and models that
    openllm stored for Bentos which are gone. What was pulled, and what others than openllm stored,
    stays; --unused takes what was pulled, too, unless a Bento needs it or an alias stands for it.
    """
    home = Settings.from_env().bentoml_home
    unneeded, cut_off = _unneeded_models(home, older_than, unused), _cut_off(home)
    total = freed_bytes(unneeded) + sum(item.size for item in cut_off)
    found = [_removable(model, home) for model in unneeded] + cut_off
    if not dry_run:
        for item in found:
            item.remove()
    if output == "json":
        removed = [{"name": item.name, "size": item.size, "why": item.why} for item in found]
        print_json({"removed": removed, "bytes": total, "dry_run": dry_run})
        return
    if found:
        rows = [(item.name, readable_size(item.size), item.why) for item in found]
        print_table(("UNNEEDED", "FREES", "WHY"), rows)
    would = "would be freed" if dry_run else "freed"
    click.echo(f"{readable_size(total)} {would}.")


def _unneeded_models(home: Path, age: timedelta | None, unused: bool) -> list[StoredModel]:
    users, named = needed_by(home), set(read_aliases(home).values())
    latest = datetime.now(UTC) - age if age else None

    def can_go(model: StoredModel) -> bool:
        wanted = model.tag in users or model.tag in named
        wanted = wanted or (is_pulled(model.tag, home) and not unused)
        return model.ours and not wanted and (latest is None or _before(model, latest))

    return [model for model in list_store(home) if can_go(model)]


def _removable(model: StoredModel, home: Path) -> Unneeded:
    def remove() -> None:
        remove_model(model, home)

    return Unneeded(model.tag, own_bytes(model), "no Bento needs it", remove)


def _before(model: StoredModel, latest: datetime) -> bool:
    if model.created is None:
        return False
    return (model.created if model.created.tzinfo else model.created.astimezone()) < latest


def _cut_off(home: Path) -> list[Unneeded]:
    found = []
    for path in (*leftovers(home), *parted(hub_cache())):
        stats = [file.stat() for file in (path, *path.rglob("*"))]
        if time.time() - max(stat.st_mtime for stat in stats) > CUT_OFF_SECONDS:
            files = stats[1:] if path.is_dir() else stats
            # parts of a file lie in one as long as it will be
            sizes = [
                min(stat.st_size, stat.st_blocks * _BLOCK) for stat in files if stat.st_nlink == 1
            ]
            size = sum(sizes)
            found.append(Unneeded(path.name, size, "it was cut off", _deleter(path)))
    return found


def _deleter(path: Path) -> Callable[[], None]:
    def remove() -> None:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    return remove
