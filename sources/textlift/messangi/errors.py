"""Check the responses of Messangi and map failures to exceptions.

Source: the vendor's pages on responses. Clients have also seen 404 and 429 with an empty body.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from textlift.codec.xml_tree import expect_list, is_complete, prepare, printable, root_tag
from textlift.declare import at_path
from textlift.errors import (
    ApiError,
    CredentialsError,
    MalformedResponse,
    TransientError,
    quote,
    spoken,
)
from textlift.http.client import HttpResponse, failed_status
from textlift.messangi.endpoints import DIALECT, ENDPOINTS

_ELEMENTS = {b"response", b"input", b"status", b"description", b"result"}
_RESULT = re.compile(rb"<(result)\b[^>]*>")
_OUTCOME = re.compile(rb"<(status|description)>\s*([^<]*)")


def check(response: HttpResponse, hide: Callable[[str], str]) -> bytes:
    """Return the body of a successful response: complete, with the list that is declared.

    ``hide`` removes the keys from what the service says: it can repeat the URL, which they are in.

    Raises:
        CredentialsError: The service rejects the keys or the signature.
        MalformedResponse: The response is cut short.
        TransientError: A retry may succeed. Also ``ERROR``, which comes without a further code, and
            a response without the list.
        ApiError: HTTP 4xx, or another status than ``OK``; both are its code.
        ServiceError: Any other failure.
    """
    body, said = response.body, hide(spoken(response.body))
    said = f": {said}" if said else ""
    if response.status in (401, 403):
        raise _refused(f"HTTP {response.status}")
    if response.status != 200:
        raise failed_status(response.status, f"HTTP {response.status}{said}")
    if not body.strip():
        raise TransientError("the response is empty")
    first, result = root_tag(body), _RESULT.search(body)
    if not first or first[1] not in _ELEMENTS:
        raise TransientError(f"a page instead of data{said}")
    # The records in the result have a status too.
    _check_outcome(body[: result.start()] if result else body, hide)
    last = first if first[1] == b"response" else result
    if not last:
        raise TransientError("the response has no result")
    if not is_complete(body, last):
        raise MalformedResponse("the response is cut short", printable(body))
    try:
        expect_list(prepare(body, DIALECT), at_path(ENDPOINTS, response.path), DIALECT)
    except MalformedResponse as error:
        # Smaller pages cannot help: the list is not there.
        raise TransientError(str(error)) from None
    return body


def _check_outcome(head: bytes, hide: Callable[[str], str]) -> None:
    """Raise the failure that a response states in front of its result, if it does."""
    found = {
        name: hide(quote(text.decode("utf-8", "replace"))) for name, text in _OUTCOME.findall(head)
    }
    status = found.get(b"status", "OK")
    if status == "BAD_SIGNATURE":
        raise _refused(status)
    if status != "OK":
        problem = f"the service says: {status} ({found.get(b'description') or 'no reason given'})"
        raise TransientError(problem) if status == "ERROR" else ApiError(problem, status)


def _refused(reason: str) -> CredentialsError:
    return CredentialsError(
        f"Messangi refuses the credentials ({reason}).\n"
        "Check sources.messangi.credentials, the key pair, and sources.messangi.instance_id."
    )
