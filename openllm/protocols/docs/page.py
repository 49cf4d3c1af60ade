"""An OpenAPI document as one HTML page: every route with its fields and answers, no script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
code, summary { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
summary { cursor: pointer; padding: .25rem 0 }
summary span { font-family: system-ui, sans-serif; opacity: .7 }
table { border-collapse: collapse; margin: .5rem 0; width: 100% }
th, td { border-bottom: 1px solid #8884; padding: .2rem .5rem; text-align: left }
td { vertical-align: top }
:root { color-scheme: light dark }
"""
DEEPEST = 6  # objects within objects that are shown


def page(document: dict[str, Any]) -> str:
    """The page of `document`, whose texts may be anything."""
    info = document["info"]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    parts = [f"<h2>{escape(name)}</h2>{''.join(found)}" for name, found in sorted(groups.items())]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
        f'<p>{escape(info["description"])} The same for programs: <a href="openapi.json">'
        f"openapi.json</a>.</p>{''.join(parts)}</body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    rows = "".join(_rows(body["schema"])) if body else ""
    head = "<tr><th>field</th><th>type</th><th></th></tr>"
    fields = f"<table>{head}{rows}</table>" if rows else ""
    answers = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<details><summary>{method.upper()} {escape(path)} "
        f"<span>{escape(operation['summary'])}</span></summary>{fields}"
        f"<table><tr><th>status</th><th></th></tr>{answers}</table></details>"
    )


def _rows(schema: dict[str, Any], before: str = "", depth: int = 0) -> Iterator[str]:
    """A row for each field of an object, and for those of the objects within."""
    needed = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        full = before + name
        yield (
            f"<tr><td><code>{escape(full)}</code></td><td>{escape(kind_of(inner))}</td>"
            f"<td>{'required' if name in needed else ''}</td></tr>"
        )
        if depth < DEEPEST:
            yield from _rows(inner, f"{full}.", depth + 1)
            yield from _rows(inner.get("items", {}), f"{full}[].", depth + 1)


def kind_of(schema: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(map(kind_of, schema["anyOf"]))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        inner = schema.get("items", {})
        return "array" if not inner.get("type") else f"array of {inner['type']}"
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f" {low} to {high}" if low is not None and high is not None else ""
    return kind + bounds
