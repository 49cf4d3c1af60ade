"""SHA-256 of the archives behind a lock: as they were installed, or, when that is asked for, as pip
finds them now.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from openllm.bento.lock.completion import installed
from openllm.errors import BuildError, option

SECONDS = 900  # for pip to find everything
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPORT = (
    "--dry-run",
    "--no-deps",
    "--ignore-installed",
    "--only-binary",
    ":all:",
    "--no-input",
    "--quiet",
)
_MISSING = "No module named pip"


def known_hashes(pins: Iterable[str]) -> dict[str, str] | None:
    """The hash of the archive that each pin was installed from; None unless that is known of every
    one.

    Installers want hashes for all packages or for none. Only what was installed from a file or URL
    left its hash behind (direct_url.json, PEP 610); what came from an index did not.
    """
    hashes = {}
    for pin in pins:
        digest = _archive_digest(pin.partition("==")[0])
        if digest is None:
            return None
        hashes[pin] = digest
    return hashes


def fetch_hashes(pins: Iterable[str]) -> dict[str, str]:
    """The hash of the archive that pip would install here for each pin, asked of the index pip is
    set up for.

    Of a version that is installed with a local part (`+cpu`), exactly that is asked for. Nothing is
    installed; names of indexes stay with pip. Errors: BuildError when one of them cannot be had.
    """
    wanted = {pin.partition("==")[0]: pin for pin in pins}
    with tempfile.TemporaryDirectory(prefix="openllm-hashes-") as folder:
        lock, report = Path(folder) / "requirements.txt", Path(folder) / "report.json"
        here = {name: installed(name) for name in wanted}
        lines = [f"{name}=={at.version}" if at else wanted[name] for name, at in here.items()]
        lock.write_text("\n".join(lines), encoding="utf-8")
        _ask_pip([*_REPORT, "--report", str(report), "--requirement", str(lock)])
        found = json.loads(report.read_bytes())["install"]
    # An entry of pip's report (pip.pypa.io/en/stable/reference/installation-report).
    digests = [
        _digest_of((item.get("download_info") or {}).get("archive_info") or {}) for item in found
    ]
    names = [re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower() for item in found]
    hashes = {
        wanted[name]: digest
        for name, digest in zip(names, digests, strict=True)
        if digest and name in wanted
    }
    if lacking := sorted(set(wanted.values()) - set(hashes)):
        raise BuildError(
            f"pip knows no hash of {lacking[0]}.", hint=f"Build without {option('hashes')}."
        )
    return hashes


def write_hashes(hashes: Mapping[str, str]) -> str:
    """`hashes` as a file for the image that is about to be frozen."""
    return json.dumps(hashes, indent=1, sort_keys=True) + "\n"


def take_hashes(path: Path) -> dict[str, str] | None:
    """What `write_hashes` made a file of, which is then removed; None where there is no such
    file.
    """
    if not path.is_file():
        return None
    found: dict[str, str] = json.loads(path.read_bytes())
    path.unlink()
    return found


def _ask_pip(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "install", *arguments]
    hint = (
        "Set pip up for an index that has the packages of this environment, or build without"
        f" {option('hashes')}."
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise BuildError(f"pip found no hashes within {SECONDS} s.", hint=hint) from None
    if done.returncode == 0:
        return
    said = "pip is not installed here" if _MISSING in done.stderr else "it gave no reason"
    for line in done.stderr.splitlines():
        if line.startswith("ERROR: "):
            said = line.removeprefix("ERROR: ")
    raise BuildError(
        f"pip found no hashes: {re.sub(r'[a-z]+://[^ ]+', 'an index', said)}.", hint=hint
    )


def _archive_digest(name: str) -> str | None:
    """SHA-256 of the archive of an installed distribution; None where it is not known, or the pin
    means another one.
    """
    found = installed(name)
    # The pin leaves a local version off, so it names another archive.
    if found is None or "+" in found.version:
        return None
    try:
        return _digest_of(
            json.loads(found.read_text("direct_url.json") or "{}").get("archive_info") or {}
        )
    except ValueError:
        return None


def _digest_of(archive: Mapping[str, Any]) -> str | None:
    digest = (archive.get("hashes") or {}).get("sha256") or str(
        archive.get("hash", "")
    ).removeprefix("sha256=")
    return digest if _SHA256.fullmatch(digest) else None
