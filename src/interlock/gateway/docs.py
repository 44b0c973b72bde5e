"""The OpenAPI document as a page for people: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any, Final

__all__ = ["page"]

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td{border-top:1px solid #ddd;padding:.3rem .6rem;vertical-align:top}"
    "code{white-space:nowrap}td:first-child{width:4rem;font-weight:600}h2{margin-top:2rem}"
)


def page(document: dict[str, Any]) -> bytes:
    """Every operation, by service: method, path, summary."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lock = "" if operation.get("security") == [] else " 🔒"
            summary = escape(operation.get("summary", ""))
            row = f"<tr><td>{method.upper()}</td><td><code>{escape(path)}</code>{lock}</td><td>{summary}</td></tr>"
            groups.setdefault(operation["tags"][0], []).append(row)
    body = "".join(f"<h2>{escape(tag)}</h2><table>{''.join(rows)}</table>" for tag, rows in groups.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Interlock</title><style>{_STYLE}</style>'
        "<h1>Interlock</h1><p>The whole description, for machines: "
        f'<a href="/openapi.json">openapi.json</a>. 🔒 needs a token from log-in.</p>{body}</html>'
    ).encode()
