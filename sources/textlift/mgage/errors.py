"""Check the responses of mGage and map failures to exceptions.

Source: "Response Specification" and "Error handling" on the vendor's page on the message export.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textlift.codec.json_document import expect_list, read_document
from textlift.codec.json_tree import body_text, parse, printable
from textlift.errors import (
    CredentialsError,
    ServiceError,
    TransientError,
    quote,
    spoken,
)
from textlift.http.client import HttpResponse, failed_status
from textlift.mgage.endpoints import DIALECT, MESSAGES


def check(response: HttpResponse) -> bytes:
    """Return the body of a successful response: complete, with the list of messages.

    Raises:
        CredentialsError: The service rejects the login.
        MalformedResponse: The response is cut short, or is not JSON outside of its messages.
        TransientError: A retry may succeed. Also ``generalErrors`` in a response with messages, and
            a response that belongs to another request.
        ApiError: HTTP 4xx, with the status as its code.
        ServiceError: Any other failure.
    """
    if response.status in (401, 403):
        raise CredentialsError(
            f"mGage refuses the credentials (HTTP {response.status}).\n"
            "Check sources.mgage.credentials: the username and password that Provisioning sent."
        )
    if response.status != 200:
        raise _failure(response, parse(body_text(response.body)))
    found = read_document(response.body, MESSAGES, DIALECT)
    meta = found.get("meta") if isinstance(found, dict) else None
    if not isinstance(meta, dict):
        raise TransientError("the response is JSON, but not of the message export")
    if meta.get("generalErrors"):
        raise TransientError(f"the service says: {_reasons(meta)} (generalErrors)")
    expect_list(found, MESSAGES, DIALECT)
    return response.body


def _failure(response: HttpResponse, found: Any) -> ServiceError:
    reasons = spoken(response.body) if found is None else ""
    if isinstance(found, dict):
        reasons = _reasons(found.get("meta"))
    status = f"HTTP {response.status}"
    problem = f"the service says: {reasons} ({status})" if reasons else status
    return failed_status(response.status, problem)


def _reasons(meta: Any) -> str:
    """Return the error messages in the ``meta`` of a response."""
    texts = _texts({**meta, "nextPageUrl": None}) if isinstance(meta, dict) else ()
    return quote(printable("; ".join(texts)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
