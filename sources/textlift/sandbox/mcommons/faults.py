"""The faults of Mobile Commons."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from textlift.sandbox.damage import find_xml, xml_kinds
from textlift.sandbox.faults import Answer, Damage, Make
from textlift.sandbox.mcommons.answers import ERRORS, INVALID, bad_request, error, failure
from textlift.sandbox.mcommons.routes import FROM_TO, LISTS, PARENTS, ROUTES, START_END
from textlift.sandbox.server import Request, Response


def _fixed(status: int, body: bytes) -> Make:
    """One answer in the place of all."""
    kind = "application/xml" if status == 200 else "text/html"
    response = Response(status, body, {"Content-Type": f"{kind}; charset=utf-8"})
    return lambda request, answer: response


def _error(kind: str, respond: Callable[[int], Response]) -> Callable[[str | None], Make]:
    def make(value: str | None) -> Make:
        if value is None or not value.isdecimal() or int(value) not in ERRORS:
            raise ValueError(f"the fault '{kind}' needs one of the error ids 0 to {max(ERRORS)}")
        response = respond(int(value))
        return lambda request, answer: response

    return make


def _number(name: str, value: str | None, least: int) -> int:
    if value is None or not value.isdecimal() or int(value) < least:
        raise ValueError(f"the fault {name!r} needs a number from {least} on")
    return int(value)


def _page_cap(value: str | None) -> Make:
    """Pages of at most so many rows, whatever the limit is."""
    cap = _number("page-cap", value, 1)

    def make(request: Request, answer: Answer) -> Response:
        def capped(name: str, text: str) -> str:
            return str(min(cap, int(text))) if name == "limit" and text.isdecimal() else text

        query = [(name, capped(name, text)) for name, text in request.query]
        return answer(replace(request, query=query))

    return make


def _page_count(value: str | None) -> Make:
    """The same count of pages for every window."""
    count = b'page_count="%d"' % _number("page-count", value, 0)

    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        return replace(response, body=re.sub(rb'page_count="[0-9]*"', count, response.body))

    return make


def _vanish(request: Request, answer: Answer) -> Response:
    """The error of a parent that is not there."""
    for name in request.params:
        if name in PARENTS or name == "fundraising_id":
            return error(INVALID[name])
    return answer(request)


_NO_DATA = {
    "text": _fixed(200, b'<response success="true">hurray!</response>'),
    "bare": _fixed(200, b"<response/>"),
    "body": _fixed(200, b"<body>Well, this is unexpected!</body>"),
    "heading": _fixed(200, b"<h1>Error</h1>"),
    "maintenance": _fixed(
        503,
        b"<title>Site Maintenance</title><p>Sorry for the inconvenience but we're performing some "
        b"maintenance at the moment.</p>",
    ),
    "maintenance-200": _fixed(200, b"<title>Site Maintenance</title><p>Sorry.</p>"),
    "heavy-load": _fixed(
        503,
        b"<h2>This website is under heavy load (queue full)</h2><p>We're sorry, too many people "
        b"are accessing this website at the same time.</p>",
    ),
}
"""Answers without data, as recorded."""

_RECORDS = {
    **{path: (route.list, route.element.name) for path, route in LISTS.items()},
    "mdata_entries": ("entries", "entry"),
}
DAMAGE = Damage(
    failure=failure,
    is_endpoint=ROUTES.__contains__,
    record=find_xml(_RECORDS.get),
    between=b"\n",
    window=frozenset((*FROM_TO, *START_END)),
    kinds={**xml_kinds(_RECORDS.get), **_NO_DATA, "vanish": _vanish},
    valued={
        "error=ID": _error("error", error),
        "error-400=ID": _error("error-400", bad_request),
        "page-cap=ROWS": _page_cap,
        "page-count=PAGES": _page_count,
    },
    transient=("error=27", "error=0", *_NO_DATA),
)
