"""A container engine that writes down how it was called."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

BASE, IMAGE = 50_000_000, 400_000_000  # bytes, as the engine below says
DIGEST = f"sha256:{'d' * 64}"
ENGINE = f"""#!/bin/sh
case "$1 $2 $5" in
"image inspect python:"*) echo {BASE}; exit ;;
"image inspect "*) echo {IMAGE}; exit ;;
"images --json ") case "$3" in python:*) size="50 MB" ;; *) size="0.4 GB" ;; esac
    echo "[{{\\"size\\": \\"$size\\"}}]"; exit ;;
esac
case "$1" in
info) echo "$ROOT"; exit ;;
inspect) echo {"c" * 64}; exit ;;
push) printf '%s\\n' "$@" > "$RECORD/pushed"
    [ "$2" = --digestfile ] && printf {DIGEST} > "$3"
    echo "1: digest: {DIGEST} size: 1"; PUSHED ;;
esac
printf '%s\\n' "$@" > "$RECORD/arguments"
echo "$TMPDIR" > "$RECORD/temporary"
for last; do :; done
cp -a "$last/.." "$RECORD/work"
END
"""


def install(
    record: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str = "podman",
    end: str = "",
    pushed: str = "exit",
) -> None:
    """`end` is what its `build` does at last, `pushed` its `push`. Its images are kept in `record`,
    or where the variable ROOT says.
    """
    folder = record.parent / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(ENGINE.replace("END", end).replace("PUSHED", pushed))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("ROOT", str(record))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
