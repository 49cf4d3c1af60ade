"""What mkdocs.yml cannot say of the site: CONTRIBUTING.md and the examples are in it, too, and no
page may fetch anything from elsewhere. Called by MkDocs (`make docs`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# What a browser fetches without being asked: scripts, styles, fonts, images, frames.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)[^>]+src=[\"']?(?:https?:)?//[^>]*>"
    r"|<link(?=[^>]+rel=[\"']?(?:stylesheet|preconnect|preload|icon))"
    r"[^>]+href=[\"']?(?:https?:)?//[^>]*>"
)


def on_files(files: Files, config: Any) -> Files:
    """Add CONTRIBUTING.md as a page, and the examples as they are."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "contributing.md", content=text))
    for path in sorted((ROOT / "examples").rglob("*.*")):
        if path.suffix in (".py", ".mjs", ".sh", ".jsonl"):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links to them lead there."""
    markdown = markdown.replace("](../CONTRIBUTING.md", "](contributing.md")
    return markdown.replace("](../examples/", "](examples/")


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """In tables GitHub wants bars in code escaped, and Python-Markdown keeps the escape."""
    return re.sub(r"<code>[^<]*</code>", lambda code: code[0].replace("\\|", "|"), html)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Errors: PluginError for what a browser would fetch from elsewhere."""
    if found := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} fetches from elsewhere: {found[0]}")
    return output
