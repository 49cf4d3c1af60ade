"""A package index on this machine for tests: a wheel with metadata and no code for every pin (PEP
503, PEP 440).
"""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Tests need no access log."""


def write_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel that can be installed and holds nothing."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def write_index(root: Path, pins: Iterable[str]) -> dict[str, str]:
    """Pages and wheels for `pins` below `root`/simple; the SHA-256 of each wheel, by pin."""
    digests = {}
    for pin in pins:
        name, _, version = pin.partition("==")
        folder = root / "simple" / name
        folder.mkdir(parents=True)
        wheel = write_wheel(folder, name, version)
        digests[pin] = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (folder / "index.html").write_text(
            f'<a href="{wheel.name}#sha256={digests[pin]}">{wheel.name}</a>'
        )
    return digests


@contextmanager
def serve_index(root: Path) -> Iterator[str]:
    """Serve `root` on a free port; the address for pip's index-url."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
