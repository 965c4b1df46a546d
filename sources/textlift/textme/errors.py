"""Check the responses of TextMe, by "HTTP Status Codes" and "Error Response" of the vendor's page."""

from __future__ import annotations

import re
from html import unescape

from textlift.codec.xml_tree import expect_list, is_complete, prepare, printable, root_tag
from textlift.declare import at_path
from textlift.errors import AccessDenied, MalformedResponse, TransientError, quote, spoken
from textlift.http.client import HttpResponse, failed_status
from textlift.textme.endpoints import DIALECT, ENDPOINTS

_MESSAGE = re.compile(rb"<message>([^<]*)</message>")


def check(response: HttpResponse) -> bytes:
    """Return the body of a successful response: complete, with the elements that are declared.

    Raises:
        AccessDenied: The service rejects the credentials, or they do not permit this request.
        MalformedResponse: The response is cut short.
        TransientError: A retry may succeed. Also a response that belongs to another request.
        ServiceError: Any other failure; an ApiError with the status as its code for HTTP 4xx.
    """
    body, status = prepare(response.body, DIALECT), response.status
    if status in (401, 403):
        raise AccessDenied(_explained(f"the service denies access (HTTP {status})", body), status)
    if status != 200:
        raise failed_status(status, _explained(f"HTTP {status}", body))
    root = root_tag(body)
    if not root or root[1] == b"error":
        raise TransientError(_explained("the response holds no data", body))
    if not is_complete(body, root):
        raise MalformedResponse("the response is cut short", printable(body))
    try:
        expect_list(body, at_path(ENDPOINTS, response.path), DIALECT)
    except MalformedResponse as error:
        # The response belongs to another request, so decoding it cannot help.
        raise TransientError(str(error)) from None
    return response.body


def _explained(problem: str, body: bytes) -> str:
    """Return the problem, followed by the message in the response if it has one."""
    found = _MESSAGE.search(body)
    said = quote(unescape(found[1].decode("utf-8", "replace"))) if found else spoken(body)
    return f"{problem}: {said}" if said else problem
