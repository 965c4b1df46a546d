"""How answers go wrong: what `sandbox.faults` has to know about this service."""

from __future__ import annotations

import json

from textlift.sandbox.faults import Answer, Change, Damage, at_end_of, damaged, instead_of
from textlift.sandbox.mgage.answers import PATH, denied, failure, unknown_program
from textlift.sandbox.mgage.answers import answer as _answer
from textlift.sandbox.server import Request, Response

_LIST = b'"messages": ['
_BODY = r'"body": "((?:[^"\\]|\\.)*)'
_DATE = r'"date": "([^"]*)'
_INSIDE = r"()\}\Z"


def _failure(status: int) -> Response:
    if status == 401:
        return denied()
    reason = "General server exception" if status >= 500 else "The request could not be served"
    return failure(status, reason)


def _record(endpoint: str, body: bytes) -> tuple[int, int] | None:
    before, mark, rest = body.partition(_LIST)
    start = len(before) + len(mark)
    text = rest.decode(errors="surrogateescape")
    try:
        # Not strict: control characters may be in it already.
        _, length = json.JSONDecoder(strict=False).raw_decode(text)
    except ValueError:
        return None  # there is none, or it is damaged already
    return start, start + len(text[:length].encode(errors="surrogateescape"))


def _vanish(request: Request, answer: Answer) -> Response:
    match = PATH.fullmatch(request.endpoint)
    return unknown_program(match[1]) if match else answer(request)


def _inside(extra: bytes) -> Change:
    return at_end_of(_INSIDE, b", " + extra)


_CHANGES: dict[str, Change] = {
    "control": at_end_of(_BODY, b"\x07"),
    "invalid-utf8": at_end_of(_BODY, b"\xe9"),
    "bad-time": instead_of(_DATE, b"yesterday"),
    "nested": lambda record: _inside(b'"message": ' + record)(record),
    "megabyte": at_end_of(_BODY, b"a" * 2**20),
    "broken": at_end_of(_BODY, b' "now"'),
    "deep": _inside(b'"deep": ' + b"[" * 100_000 + b"]" * 100_000),
}

DAMAGE = Damage(
    failure=_failure,
    is_endpoint=lambda endpoint: PATH.fullmatch(endpoint) is not None,
    record=_record,
    between=b", ",
    window=frozenset(("startDate", "endDate")),
    kinds={
        **{kind: damaged(_record, change) for kind, change in _CHANGES.items()},
        "vanish": _vanish,
        "plain": lambda request, answer: Response(
            500, b"The export is not available at the moment.", {"Content-Type": "text/plain"}
        ),
        "no-messages": lambda request, answer: _answer(200, [], None, {}),
        "general-errors": lambda request, answer: failure(200, "The messages could not be read"),
    },
    transient=("general-errors", "plain", "no-messages"),
)
"""The faults of this service."""
