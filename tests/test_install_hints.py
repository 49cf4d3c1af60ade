"""The distribution called openllm on PyPI is somebody else's: nothing of ours may tell anyone to
install it.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = (
    "openllm",
    "docs",
    "examples",
    "templates",
    "bentos",
    "scripts",
    "requirements",
    "README.md",
    "Makefile",
)
BY_NAME = re.compile(
    r"(?:pip|uv|pipx) +(?:pip +)?(?:install|add)[^\n`#]*\bopenllm(?:\[|\b(?![/.]))", re.IGNORECASE
)


def test_no_text_installs_openllm_by_name() -> None:
    assert BY_NAME.search("pip install 'openllm[pt]'")
    assert BY_NAME.search("uv pip install -U openllm")
    files = [
        path
        for place in PLACES
        for path in ((ROOT / place).rglob("*") if (ROOT / place).is_dir() else [ROOT / place])
    ]
    texts = [
        path
        for path in files
        if path.suffix in (".py", ".md", ".jinja", ".yaml", ".txt", ".toml", "") and path.is_file()
    ]
    assert len(texts) > 100
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in texts
        if (match := BY_NAME.search(path.read_text()))
    ]
    assert found == []
