"""Our own wheel, made from the package that is running: a Bento carries it and never asks an index
for openllm.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import openllm
from openllm.bento.lock.requirements import our_distribution

# Files that live beside the package in a checkout and inside it in a wheel.
DATA = {"templates": "_templates", "bentos": "_bentos"}
_EPOCH = (1980, 1, 1, 0, 0, 0)
_KEPT_METADATA = ("METADATA", "entry_points.txt")


def wheel_name() -> str:
    """The file name of the wheel that `write_wheel` makes."""
    return f"openllm-{our_distribution().version}-py3-none-any.whl"


def wheel_record() -> str:
    """RECORD of the wheel: every file with its digest; two wheels with the same RECORD hold the
    same.
    """
    return _record(dict(_contents()))


def write_wheel(directory: Path) -> Path:
    """Write the wheel into `directory`, byte for byte the same for the same sources. Errors:
    BuildError, OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    contents = dict(_contents())
    info = f"openllm-{our_distribution().version}.dist-info"
    target = directory / wheel_name()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [
            *sorted(contents.items()),
            (f"{info}/RECORD", _record(contents).encode()),
        ]:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target


def wheel_digest() -> str:
    """SHA-256 (hexadecimal) of the wheel that `write_wheel` makes."""
    with tempfile.TemporaryDirectory(prefix="openllm-wheel-") as folder:
        return hashlib.sha256(write_wheel(Path(folder)).read_bytes()).hexdigest()


def _contents() -> Iterator[tuple[str, bytes]]:
    """Names in the wheel and what they hold, RECORD left out."""
    package = Path(openllm.__file__).parent
    yield from _tree(package, "openllm")
    for beside, inside in DATA.items():
        if not (package / inside).is_dir():
            yield from _tree(package.parent / beside, f"openllm/{inside}")
    ours = our_distribution()
    info = f"openllm-{ours.version}.dist-info"
    for name in _KEPT_METADATA:
        yield f"{info}/{name}", (ours.read_text(name) or "").encode()
    for path in ours.files or ():
        if path.parent.name == "licenses":
            yield f"{info}/licenses/{path.name}", Path(str(path.locate())).read_bytes()
    yield (
        f"{info}/WHEEL",
        b"Wheel-Version: 1.0\nGenerator: openllm\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    )


def _tree(root: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Without caches, and without the demo model, which a Bento has in its own model store."""
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root)
        hidden = any(part == "__pycache__" or part.startswith(".") for part in inner.parts)
        demo = prefix == "openllm" and inner.parts[0] == "demo" and inner.suffix != ".py"
        if path.is_file() and not hidden and not demo:
            yield f"{prefix}/{inner.as_posix()}", path.read_bytes()


def _record(contents: dict[str, bytes]) -> str:
    rows = []
    for name, data in sorted(contents.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*rows, f"openllm-{our_distribution().version}.dist-info/RECORD,,", ""])
