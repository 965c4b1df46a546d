"""Check the responses of Mobiniti and map failures to exceptions.

Source: "Status Codes and Errors" on the vendor's page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textlift.codec.json_document import expect_list, read_document
from textlift.codec.json_tree import body_text, parse, printable
from textlift.declare import at_path
from textlift.errors import AccessDenied, ServiceError, quote, spoken
from textlift.http.client import HttpResponse, failed_status
from textlift.mobiniti.endpoints import DIALECT, ENDPOINTS, SCOPES


def check(response: HttpResponse) -> bytes:
    """Return the body of a successful response: complete, with its list and its pagination.

    Raises:
        AccessDenied: The token lacks the scope for the route, or is wrong.
        MalformedResponse: The response is cut short, or is not JSON outside of its records.
        TransientError: A retry may succeed. Also a response without a list or without pagination.
        ApiError: Any other HTTP 4xx, with the status as its code.
        ServiceError: Any other failure.
    """
    endpoint = at_path(ENDPOINTS, response.path)
    if response.status in (401, 403):
        raise AccessDenied(
            f"Mobiniti denies access to {response.path} (HTTP {response.status}): the token lacks "
            f"the scope {SCOPES[endpoint.name]}, or is not valid{_request(response)}",
            response.status,
        )
    if response.status != 200:
        raise _failure(response)
    found = read_document(response.body, endpoint, DIALECT)
    expect_list(found, endpoint, DIALECT)
    return response.body


def _failure(response: HttpResponse) -> ServiceError:
    found = parse(body_text(response.body))
    reasons = spoken(response.body) if found is None else ""
    if isinstance(found, dict):
        texts = [*_texts(found.get("message")), *_texts(found.get("errors"))]
        reasons = quote(printable("; ".join(texts)))
    status = f"HTTP {response.status}"
    problem = f"the service says: {reasons} ({status})" if reasons else status
    return failed_status(response.status, f"{problem}{_request(response)}")


def _request(response: HttpResponse) -> str:
    """Return what the vendor's support asks for, to follow a message."""
    return f" (request {response.request_id})" if response.request_id else ""


def _texts(value: Any) -> Iterator[str]:
    """Yield a message, or the messages of a validation error, each after the name of its field."""
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for field, item in value.items():
            yield from (f"{field}: {text}" for text in _texts(item))
