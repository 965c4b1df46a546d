"""Check the responses of Mobile Commons and map failures to exceptions.

Source: the section "Errors & Troubleshooting" of the vendor's REST API page. Clients of the API
have also seen failures with HTTP 200, HTML pages, and XML that is not well-formed.
"""

from __future__ import annotations

import re

from textlift.codec.xml_tree import expect_list, is_complete, prepare, printable, root_tag
from textlift.errors import (
    ApiError,
    CredentialsError,
    MalformedResponse,
    ServiceError,
    TransientError,
    WindowTooLarge,
    quote,
    spoken,
)
from textlift.http.client import TRANSIENT_STATUSES, HttpResponse, parse_number
from textlift.mcommons.endpoints import DIALECT, ENDPOINTS

INVALID_COMPANY = 4
TOO_MANY_MESSAGES = 17
#: "Unknown error" and "API rate limit exceeded": the same request can succeed later.
TRANSIENT_ERRORS = frozenset({0, 27})

_BY_PATH = {endpoint.path: endpoint for endpoint in ENDPOINTS}
_ROOT_NAMES = {DIALECT.envelope, *(endpoint.rows.partition("/")[0] for endpoint in ENDPOINTS)}
_FAILED = re.compile(rb"""\bsuccess\s*=\s*["']false""")
_ERROR = re.compile(rb"<error\b[^>]*>")
_ATTRIBUTE = re.compile(rb"""\b(id|message)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


def check(response: HttpResponse) -> bytes:
    """Return the body of a successful response: complete, with the elements that are declared.

    Raises:
        CredentialsError: The service rejects the login, token or company.
        MalformedResponse: The response is cut short.
        TransientError: A retry may succeed. Also a response that belongs to another request.
        WindowTooLarge: Error 17.
        ApiError: Any other error id.
        ServiceError: Any other response without records.
    """
    body = prepare(response.body, DIALECT)
    root = root_tag(body)
    if root and root[1] == b"response" and _FAILED.search(root[0]):
        raise _refusal(body)
    if response.status in (401, 403):
        raise CredentialsError(
            f"Mobile Commons refuses the credentials (HTTP {response.status}).\n"
            "Check sources.mcommons.credentials: username and password of a login with API access, "
            "or the token of an account migrated to UCM."
        )
    if response.status != 200:
        problem = _explained(f"HTTP {response.status}", body)
        raise (TransientError if response.status in TRANSIENT_STATUSES else ServiceError)(problem)
    if not body.strip():
        raise TransientError("the response is empty")
    if not root or root[1].decode() not in _ROOT_NAMES:
        raise TransientError(_explained("a page instead of data", body))
    if not is_complete(body, root):
        raise MalformedResponse("the response is cut short", printable(body))
    endpoint = _BY_PATH.get(response.path)
    if endpoint:
        try:
            expect_list(body, endpoint, DIALECT)
        except MalformedResponse as error:
            # The response belongs to another request, so smaller pages cannot help.
            raise TransientError(str(error)) from None
    return response.body


def _explained(problem: str, body: bytes) -> str:
    """Return the problem, followed by the reason in the response if it has one."""
    reason = spoken(body)
    return f"{problem}: {reason}" if reason else problem


def _refusal(body: bytes) -> Exception:
    error = _ERROR.search(body)
    found = {
        name: (double or single).decode("utf-8", "replace")
        for name, double, single in _ATTRIBUTE.findall(error[0] if error else b"")
    }
    message = quote(found.get(b"message", "")) or "no reason given"
    error_id = parse_number(found.get(b"id")) or 0
    if error_id == INVALID_COMPANY:
        return CredentialsError(
            f"Mobile Commons refuses the company: {message} (error {error_id}).\n"
            "Set sources.mcommons.company to a company key of this login, or leave it out to read "
            "the login's own firm."
        )
    if error_id in TRANSIENT_ERRORS:
        return TransientError(f"the service says: {message} (error {error_id})")
    if error_id == TOO_MANY_MESSAGES:
        return WindowTooLarge(f"the service says: {message} (error {error_id})")
    return ApiError(f"the service says: {message} (error {error_id})", error_id)
