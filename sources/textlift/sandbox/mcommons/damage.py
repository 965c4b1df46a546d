"""How answers go wrong: what `sandbox.faults` has to know about this service."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from http.client import responses

from textlift.sandbox.faults import Answer, Change, Damage, Make, at_end_of, damaged, instead_of
from textlift.sandbox.mcommons.answers import bad_request, denied, refusal
from textlift.sandbox.mcommons.endpoints import ENDPOINTS
from textlift.sandbox.mcommons.parameters import ERRORS, ServiceError
from textlift.sandbox.page import page
from textlift.sandbox.server import Request, Response

_PARENTS = {
    "campaign_id": 1,
    "group_id": 6,
    "mdata_id": 9,
    "fundraising_id": 12,
    "mconnect_id": 15,
    "url_id": 20,
}
"""The error that says that a parent is not there, by the parameter that names it."""

_LISTS = {
    "profiles": ("profiles", "profile"),
    "messages": ("messages", "message"),
    "sent_messages": ("messages", "message"),
    "broadcasts": ("broadcasts", "broadcast"),
    "broadcast": ("response", "broadcast"),
    "calls": ("calls", "call"),
    "clicks": ("clicks", "click"),
    "mdata_queries": ("queries", "query"),
    "mdata_entries": ("entries", "entry"),
    "campaign_subscribers": ("subscriptions", "sub"),
    "group_members": ("group", "profile"),
    "groups": ("groups", "group"),
    "campaigns": ("campaigns", "campaign"),
    "tags": ("tags", "tag"),
    "keywords": ("keywords", "keyword"),
    "mconnects": ("mconnects", "mconnect"),
    "tinyurls": ("tinyurls", "tinyurl"),
    "mdatas": ("mdatas", "mdata"),
    "attachments": ("attachments", "attachment"),
}
"""The elements of the list and of its rows. The other endpoints answer without records."""

_VALUE = r"<(\w+)>(?!true<|false<|[-0-9.]+<|[0-9]{4}-[0-9]{2}-[0-9]{2})"
# A subscriber has no other text than its phone number.
_TEXT = rf"\A(?s:.*?{_VALUE}([^<]+)(?=</\1>)|.*?<phone_number>([^<]+))"
_END_TAG = rf"\A(?s:.*?{_VALUE}[^<]+(</\1>)|.*?<phone_number>[^<]+(</phone_number>))"
_BODY = r"<body>([^<]*)(?=</body>)"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:Z| UTC)"
_COUNT = r"<(?:\w+_id|\w+_count|size|duration|call_timeout|profile)>([0-9]+)<"
_OTHER_ID = r"[ _]id=\"([0-9]+)\""
_ID = r"\A<\w+[^<>]*?( id=\"[^\"]*\")|\A<\w+>\s*(<id>[^<]*</id>)"
_ID_VALUE = r"\A<\w+[^<>]*? id=\"([^\"]*)|\A<\w+>\s*<id>([^<]*)"
_NAME = r"\A<\w+"
_INSIDE = r"()</\w+>\Z"

_LAUGHS = [b'<!ENTITY laugh0 "ha">'] + [
    b'<!ENTITY laugh%d "%b">' % (level, b"&laugh%d;" % (level - 1) * 10) for level in range(1, 10)
]


def _failure(status: int) -> Response:
    if status == 401:
        return denied()
    title = responses.get(status, f"Error {status}")
    return page(status, title, f"The server answered with the status {status}.")


def _record(endpoint: str, body: bytes) -> tuple[int, int] | None:
    if endpoint not in _LISTS:
        return None
    name, row = _LISTS[endpoint]
    start_of_list = re.search(rf"<{name}(?: [^<>]*)?>\n".encode(), body)
    return start_of_list and _row(row, body, start_of_list.end())


def _second_record(endpoint: str, body: bytes) -> tuple[int, int] | None:
    first = _record(endpoint, body)
    return first and _row(_LISTS[endpoint][1], body, first[1] + len(b"\n"))


def _row(name: str, body: bytes, start: int) -> tuple[int, int] | None:
    """Where a row is that begins at `start`."""
    tag, depth = re.compile(rf"<(/?){name}(?=[ >])[^<>]*>".encode()), 0
    if not tag.match(body, start):
        return None
    for each in tag.finditer(body, start):
        depth += -1 if each[1] else 1
        if depth <= 0:
            return (start, each.end()) if not depth else None
    return None  # it is damaged already


def _error(kind: str, respond: Callable[[ServiceError], Response]) -> Callable[[str | None], Make]:
    def make(value: str | None) -> Make:
        if value is None or not value.isdecimal() or int(value) not in ERRORS:
            raise ValueError(f"the fault '{kind}' needs one of the error ids 0 to {max(ERRORS)}")
        response = respond(ServiceError(int(value)))
        return lambda request, answer: response

    return make


def _number(name: str, value: str | None, least: int) -> int:
    if value is None or not value.isdecimal() or int(value) < least:
        raise ValueError(f"the fault {name!r} needs a number from {least} on")
    return int(value)


def _page_cap(value: str | None) -> Make:
    """Pages of no more than so many rows, whatever is asked for."""
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


def _filtered(request: Request, answer: Answer) -> Response:
    """A page without its first row, as if that had been taken out when the page was cut already."""
    response = damaged(_record, lambda record: b"")(request, answer)
    if response.body == answer(request).body:
        return response

    def one_less(number: re.Match[bytes]) -> bytes:
        return b'num="%d"' % (int(number[1]) - 1)

    return replace(response, body=re.sub(rb'num="([0-9]+)"', one_less, response.body, count=1))


def _vanish(request: Request, answer: Answer) -> Response:
    for name in request.params:
        if name in _PARENTS:
            return refusal(ServiceError(_PARENTS[name]))
    return answer(request)


def _same_id(request: Request, answer: Answer) -> Response:
    response = answer(request)
    place = _record(request.endpoint, response.body)
    id = place and re.search(_ID_VALUE.encode(), response.body[slice(*place)])
    if not id:
        return response
    change = instead_of(_ID_VALUE, id[id.lastindex or 0])
    return damaged(_second_record, change)(request, lambda _: response)


def _bad_number(record: bytes) -> bytes:
    start_tag, end, rest = record.partition(b">")
    for pattern in (_COUNT, _OTHER_ID):
        changed = instead_of(pattern, b"many")(rest)
        if changed != rest:
            return start_tag + end + changed
    return record


def _megabyte(record: bytes) -> bytes:
    letters = b"a" * 2**20
    longer = at_end_of(_BODY, letters)(record)
    return longer if longer != record else _inside(b"<remarks>%b</remarks>" % letters)(record)


def _answers(status: int, body: bytes) -> Make:
    """Something else in the place of every answer."""
    kind = "application/xml" if status == 200 else "text/html"
    response = Response(status, body, {"Content-Type": f"{kind}; charset=utf-8"})
    return lambda request, answer: response


def _rewritten(change: Callable[[bytes, bytes, bytes], bytes]) -> Make:
    """The list of an answer changed, by its body and the names of the list and of its rows."""

    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        if request.endpoint not in _LISTS:
            return response
        names = (name.encode() for name in _LISTS[request.endpoint])
        return replace(response, body=change(response.body, *names))

    return make


def _other_list(body: bytes, name: bytes, row: bytes) -> bytes:
    return re.sub(rb"<(/?)%b\b" % name, rb"<\1others", body)


def _other_rows(body: bytes, name: bytes, row: bytes) -> bytes:
    return re.sub(rb"<(/?)%b(?=[ >])" % row, rb"<\1person", body)


def _two_lists(body: bytes, name: bytes, row: bytes) -> bytes:
    end = body.rfind(b"</%b>" % name)
    return body[:end] + b"</%b><%b>" % (name, name) + body[end:] if end >= 0 else body


def _short_list(body: bytes, name: bytes, row: bytes) -> bytes:
    """One row more than there is."""

    def more(number: re.Match[bytes]) -> bytes:
        return b"%b%d" % (number[1], int(number[2]) + 1)

    return re.sub(rb"(<%b [^<>]*?\bnum=\")([0-9]+)" % name, more, body, count=1)


def _comment(body: bytes, name: bytes, row: bytes) -> bytes:
    """A comment from before the first row to behind the list's last one."""
    body = re.sub(rb"(<%b(?: [^<>]*)?>\n)(?=<%b[ >])" % (name, row), rb"\1<!--", body, count=1)
    end = body.rfind(b"</%b>" % name)
    return body[:end] + b"-->" + body[end:] if b"<!--" in body else body


def _bad_count(body: bytes, name: bytes, row: bytes) -> bytes:
    number = "\N{SUPERSCRIPT TWO}".encode()
    return re.sub(rb"(\b(?:num|page_count)=\")[0-9]+", rb"\g<1>" + number, body)


def _encoded(encoding: str) -> Make:
    """The answer in another encoding; what that does not have is written as a reference."""

    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        text = response.body.decode().replace("UTF-8", encoding, 1)
        headers = {**response.headers, "Content-Type": f"application/xml; charset={encoding}"}
        body = text.encode(encoding, "xmlcharrefreplace")
        return replace(response, body=body, headers=headers)

    return make


def _end_blank(request: Request, answer: Answer) -> Response:
    response = answer(request)
    return replace(response, body=re.sub(rb">\s*\Z", b" >\n", response.body))


def _inside(extra: bytes) -> Change:
    return at_end_of(_INSIDE, extra)


def _entities(declarations: bytes, used: bytes) -> Make:
    """Entities, declared at the beginning and used in a text of the first record."""
    use = damaged(_record, at_end_of(_TEXT, used))

    def make(request: Request, answer: Answer) -> Response:
        response = use(request, answer)
        if used not in response.body:
            return response
        doctype = rb"\1<!DOCTYPE \2 [%b]>\n<\2" % declarations
        body = re.sub(rb"\A(<\?xml[^>]*>\n)<(\w+)", doctype, response.body)
        return replace(response, body=body)

    return make


_CHANGES: dict[str, Change] = {
    "control": at_end_of(_TEXT, b"\x07"),
    "ampersand": at_end_of(_TEXT, b" & "),
    "invalid-utf8": at_end_of(_TEXT, b"\xe9"),
    "bad-number": _bad_number,
    "bad-time": instead_of(_TIME, b"yesterday"),
    "no-id": instead_of(_ID, b""),
    "nested": lambda record: _inside(record)(record),
    "megabyte": _megabyte,
    "broken": instead_of(_END_TAG, b""),
    "deep": _inside(b"<deep>" * 100_000 + b"</deep>" * 100_000),
    "huge-attribute": lambda record: at_end_of(_NAME, b' remarks="%b"' % (b"a" * 20_000_000))(
        record
    ),
}

_NO_DATA = {
    "text": _answers(200, b'<response success="true">hurray!</response>'),
    "bare": _answers(200, b"<response/>"),
    "body": _answers(200, b"<body>Well, this is unexpected!</body>"),
    "heading": _answers(200, b"<h1>Error</h1>"),
    "maintenance": _answers(
        503,
        b"<title>Site Maintenance</title><p>Sorry for the inconvenience but we're performing some "
        b"maintenance at the moment.</p>",
    ),
    "maintenance-200": _answers(200, b"<title>Site Maintenance</title><p>Sorry.</p>"),
    "heavy-load": _answers(
        503,
        b"<h2>This website is under heavy load (queue full)</h2><p>We're sorry, too many people "
        b"are accessing this website at the same time.</p>",
    ),
}
"""Answers that are no data, as recorded."""

_NO_LIST: dict[str, Callable[[bytes, bytes, bytes], bytes]] = {
    "other-list": _other_list,
    "other-rows": _other_rows,
    "two-lists": _two_lists,
    "short-list": _short_list,
    "comment": _comment,
}
"""Answers whose list is not the one that it should be."""

DAMAGE = Damage(
    failure=_failure,
    is_endpoint=ENDPOINTS.__contains__,
    record=_record,
    between=b"\n",
    window=frozenset(("from", "to", "start_time", "end_time")),
    kinds={
        **{kind: damaged(_record, change) for kind, change in _CHANGES.items()},
        **_NO_DATA,
        **{kind: _rewritten(change) for kind, change in _NO_LIST.items()},
        "bad-count": _rewritten(_bad_count),
        "utf-16": _encoded("utf-16"),
        "iso-8859-1": _encoded("iso-8859-1"),
        "end-blank": _end_blank,
        "same-id": _same_id,
        "filtered": _filtered,
        "vanish": _vanish,
        "external-entity": _entities(b'<!ENTITY secret SYSTEM "file:///etc/passwd">', b"&secret;"),
        "entity-expansion": _entities(b"".join(_LAUGHS), b"&laugh9;"),
    },
    valued={
        "error=ID": _error("error", refusal),
        "error-400=ID": _error("error-400", bad_request),
        "page-cap=ROWS": _page_cap,
        "page-count=PAGES": _page_count,
    },
    transient=("error=27", "error=0", *_NO_DATA),
)
"""The faults of this service."""
