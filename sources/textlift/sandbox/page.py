"""The HTML pages that web servers and proxies send where an API was expected."""

from __future__ import annotations

from html import escape

from textlift.sandbox.server import Response


def page(status: int, title: str, text: str, **headers: str) -> Response:
    """A page with its title in an `h4` and its text in a `p`."""
    body = (
        f"<!DOCTYPE html>\n<html><head><title>{escape(title)}</title></head>"
        f"<body><h4>{escape(title)}</h4><p>{escape(text)}</p></body></html>"
    )
    return Response(status, body.encode(), {"Content-Type": "text/html; charset=utf-8", **headers})
