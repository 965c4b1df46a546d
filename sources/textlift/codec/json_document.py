"""Check that a successful response is the JSON document that an endpoint declares."""

from __future__ import annotations

from typing import Any

from textlift.codec.dialects import JsonDialect
from textlift.codec.json_salvage import salvage
from textlift.codec.json_tree import body_text, locate, parse
from textlift.declare import Endpoint
from textlift.errors import MalformedResponse, TransientError, spoken


def read_document(body: bytes, endpoint: Endpoint, dialect: JsonDialect) -> Any:
    """Return the value of a response, without records that are not well-formed.

    Raises:
        MalformedResponse: The response is cut short, or is not JSON outside of its records.
        TransientError: The response is empty, or not JSON at all.
    """
    text = body_text(body)
    found = parse(text)
    if not text.strip():
        raise TransientError("the response is empty")
    if found is None and not text.lstrip().startswith("{"):
        problem = "a page instead of data" if "<" in text else "the response is not JSON"
        reason = spoken(body)
        raise TransientError(f"{problem}: {reason}" if reason else problem)
    return salvage(text, endpoint, dialect)[0] if found is None else found


def expect_list(found: Any, endpoint: Endpoint, dialect: JsonDialect) -> None:
    """Check that a response holds what the endpoint and the dialect declare.

    Raises:
        TransientError: It does not. The response belongs to another request, so smaller pages
            cannot help.
    """
    try:
        locate(found, endpoint, dialect)
    except MalformedResponse as error:
        raise TransientError(str(error)) from None
