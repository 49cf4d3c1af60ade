"""Distributions as somebody else would publish them, one for each kind of variant, and a way to
install them for a test.

The packages beside this file import nothing of the tests; `install` copies them to a folder of
their own.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from openllm import discovery
from openllm.discovery import variants

SOURCES = Path(__file__).parent


@attrs.frozen
class Published:
    """A distribution: its one package or module is called as it is, with underscores."""

    name: str
    entry_points: Mapping[str, Mapping[str, str]]  # group -> name -> module
    requires: tuple[str, ...] = ()
    version: str = "1.0"

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")


BACKWARDS = Published(
    "openllm-backwards",
    {"openllm.backends": {"backwards": "openllm_backwards"}},
    ("openllm", "psutil>=5"),
)
HERON = Published("openllm-heron", {"openllm.families": {"heron": "openllm_heron.family"}})
TELEGRAPH = Published(
    "openllm-telegraph", {"openllm.protocols": {"telegraph": "openllm_telegraph"}}
)
HELLO = Published("openllm-hello", {"openllm.commands": {"hello-there": "openllm_hello"}})
SHOUT = Published(
    "openllm-shout",
    {
        "openllm.tools": {"shout": "openllm_shout.tools"},
        "openllm.reasoning": {"mutter": "openllm_shout.reasoning"},
    },
)
ALL = (BACKWARDS, HERON, TELEGRAPH, HELLO, SHOUT)


def install(folder: Path, *distributions: Published) -> Path:
    """Make `folder` what it would be for `pip install --target FOLDER`; the folder."""
    for distribution in distributions:
        shutil.copytree(
            SOURCES / distribution.module,
            folder / distribution.module,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        write_metadata(folder, distribution)
    return folder


@contextmanager
def installed(folder: Path, *distributions: Published) -> Iterator[Path]:
    """`distributions` in `folder`, and that on the path of this process, for a while."""
    caches = (variants, discovery._entry_points, discovery._log_once)
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for cache in caches:
            cache.cache_clear()
        patch.syspath_prepend(install(folder, *distributions))
        try:
            yield folder
        finally:
            for name in set(sys.modules) - known:
                if name.startswith("openllm_"):
                    del sys.modules[name]
            for cache in caches:
                cache.cache_clear()


def write_metadata(folder: Path, distribution: Published) -> None:
    """The dist-info of a distribution whose modules are in `folder` already."""
    info = folder / f"{distribution.module}-{distribution.version}.dist-info"
    info.mkdir(parents=True)
    metadata = ["Metadata-Version: 2.1", f"Name: {distribution.name}"]
    metadata += [f"Version: {distribution.version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in distribution.requires]
    (info / "METADATA").write_text("\n".join([*metadata, ""]))
    lines: list[str] = []
    for group, entries in distribution.entry_points.items():
        lines += [f"[{group}]", *(f"{name} = {module}" for name, module in entries.items())]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]))
