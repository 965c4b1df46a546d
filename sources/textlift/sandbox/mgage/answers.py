"""What an answer is made of: JSON with data, or with reasons why there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from textlift.sandbox.server import Response

PATH = re.compile(r"messages/program/([^/]+)")
"""The one endpoint, with the id of a program."""


def answer(
    status: int, errors: Iterable[str], next_page: str | None, data: dict[str, Any] | None
) -> Response:
    """An answer of JSON."""
    document = {"meta": {"generalErrors": list(errors), "nextPageUrl": next_page}, "data": data}
    try:
        body = json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half an emoji, as a body cut at a length can end in
        body = json.dumps(document).encode()
    return Response(status, body, {"Content-Type": "application/json; charset=utf-8"})


def failure(status: int, *reasons: str, **headers: str) -> Response:
    """An answer without data, its reasons where the service puts them.

    For `Sandbox.faults`: `failure(500, "General server exception")`, or, as a failure that hides
    behind a success, `failure(200, "Program 121811 could not be read")`.
    """
    response = answer(status, reasons, None, None)
    return replace(response, headers={**response.headers, **headers})


def denied() -> Response:
    """The answer to a wrong password."""
    return failure(
        401,
        "Authentication failed: check the username and password",
        **{"WWW-Authenticate": 'Basic realm="mGage"'},
    )


def unknown_program(id: str) -> Response:
    """The answer to a call for a program that is not there."""
    return failure(404, f"Program {id} not found")
