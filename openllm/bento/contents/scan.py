"""The last look at a Bento before it is kept: no credentials, no secret of the environment, no path
of the builder.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from openllm.errors import BuildError

PLACE = "a path of the machine it was built on"
_CREDENTIALS = re.compile(
    rb"[a-z][a-z0-9+.-]*://[^/\s:@\"'<>{}$]+:[^/\s@\"'<>{}$]+@", re.IGNORECASE
)
_INDEX_OPTION = re.compile(
    rb"^\s*(--(extra-)?index-url|--find-links|--trusted-host|-i|-f)\b", re.MULTILINE
)
_SECRET_NAME = re.compile(
    r"(TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ADMIN_?KEY|ACCESS_?KEY|PRIVATE_?KEY)", re.IGNORECASE
)
_INDEX_NAME = re.compile(r"(INDEX|FIND_LINKS|PROXY)", re.IGNORECASE)
_SHORTEST_SECRET = 8  # shorter values are words that occur anywhere


def scan_bento(root: Path, private_paths: tuple[Path, ...], environ: Mapping[str, str]) -> None:
    """Read every file below `root`, wheels too. Errors: BuildError that names the file and the
    finding, not the value.

    `private_paths` are the builder's directories that must not be named.
    """
    # A path of a single component (/app) is too common to mean anything.
    forms = {form for path in private_paths for form in (path, path.resolve())}
    paths = [str(form).encode() for form in forms if len(form.parts) > 2]
    needles = [*_secrets(environ), *((PLACE, path) for path in paths)]
    for name, data in _files(root):
        for what, needle in needles:
            if needle in data:
                raise _refused(name, what)
        if _CREDENTIALS.search(data) and not name.endswith(".py"):
            raise _refused(name, "a URL with credentials")
        if name.endswith(("requirements.txt", "requirements.in")) and _INDEX_OPTION.search(data):
            raise _refused(name, "the address of a package index")


def _secrets(environ: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    for name, value in environ.items():
        if (
            _SECRET_NAME.search(name)
            and len(value) >= _SHORTEST_SECRET
            and not Path(value).exists()
        ):
            yield f"the value of {name}", value.encode()
        if _INDEX_NAME.search(name):
            for address in value.split():
                if "://" in address:
                    yield f"the address in {name}", address.encode()


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(root.rglob("*")):
        if path.is_symlink() and path.readlink().is_absolute():
            raise _refused(path.relative_to(root).as_posix(), f"a link to {PLACE}")
        if not path.is_file():
            continue
        name = path.relative_to(root).as_posix()
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                yield from (
                    (f"{name}/{inner}", archive.read(inner)) for inner in archive.namelist()
                )
        else:
            yield name, path.read_bytes()


def _refused(name: str, what: str) -> BuildError:
    return BuildError(
        f"The Bento would carry {what} in {name}; it was not kept.",
        hint="Take it out of the environment or the spec, and build again.",
    )
