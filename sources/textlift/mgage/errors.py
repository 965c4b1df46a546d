"""Check the responses of mGage and map failures to exceptions.

Source: "Response Specification" and "Error handling" on the vendor's page on the message export.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textlift.codec.json_salvage import salvage
from textlift.codec.json_tree import body_text, locate, parse, printable
from textlift.errors import (
    ApiError,
    CredentialsError,
    MalformedResponse,
    ServiceError,
    TransientError,
    quote,
    spoken,
)
from textlift.http.client import TRANSIENT_STATUSES, HttpResponse
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
    text = body_text(response.body)
    found = parse(text)
    if response.status != 200:
        raise _failure(response, found)
    if not text.strip():
        raise TransientError("the response is empty")
    if found is None and not text.lstrip().startswith("{"):
        problem = "a page instead of data" if "<" in text else "the response is not JSON"
        reason = spoken(response.body)
        raise TransientError(f"{problem}: {reason}" if reason else problem)
    if found is None:
        found, _ = salvage(text, MESSAGES, DIALECT)
    meta = found.get("meta") if isinstance(found, dict) else None
    if not isinstance(meta, dict):
        raise TransientError("the response is JSON, but not of the message export")
    if meta.get("generalErrors"):
        raise TransientError(f"the service says: {_reasons(meta)} (generalErrors)")
    try:
        locate(found, MESSAGES, DIALECT)
    except MalformedResponse as error:
        # The response belongs to another request, so smaller pages cannot help.
        raise TransientError(str(error)) from None
    return response.body


def _failure(response: HttpResponse, found: Any) -> ServiceError:
    reasons = spoken(response.body) if found is None else ""
    if isinstance(found, dict):
        reasons = _reasons(found.get("meta"))
    status = f"HTTP {response.status}"
    problem = f"the service says: {reasons} ({status})" if reasons else status
    if response.status in TRANSIENT_STATUSES:
        return TransientError(problem)
    if 400 <= response.status < 500:
        return ApiError(problem, response.status)
    return ServiceError(problem)


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
