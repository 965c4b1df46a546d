"""What an answer is made of: XML documents, and HTML pages where something is refused."""

from __future__ import annotations

from dataclasses import replace

from textlift.sandbox.mcommons.parameters import ServiceError
from textlift.sandbox.page import page
from textlift.sandbox.server import Response


def document(lines: list[str]) -> Response:
    """An answer of XML."""
    # Encoded line by line: one emoji would make a string of the whole four times as wide.
    body = b"\n".join(
        [line.encode() for line in ('<?xml version="1.0" encoding="UTF-8"?>', *lines)]
    )
    return Response(200, body, {"Content-Type": "application/xml; charset=utf-8"})


def refusal(error: ServiceError) -> Response:
    """A failure that is reported by its id, with HTTP 200."""
    return document(['<response success="false">', f"  {error.xml()}", "</response>"])


def bad_request(error: ServiceError) -> Response:
    """The same, with HTTP 400 and without an XML declaration."""
    response = refusal(error)
    _, _, body = response.body.partition(b"\n")
    return replace(response, status=400, body=body + b"\n")


def denied() -> Response:
    """The answer to a wrong password or token."""
    return page(
        401,
        "Access denied",
        "HTTP Basic: Access denied. Check the username and password, or the token.",
        **{"WWW-Authenticate": 'Basic realm="Mobile Commons"'},
    )
