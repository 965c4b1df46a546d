"""Faults: what can go wrong between a client and a service, on demand.

    from textlift.sandbox import Sandbox, rehearse
    from textlift.sandbox.mcommons import MobileCommons

    with Sandbox(MobileCommons()) as box:
        rehearse(box, "503=2@3", "transient@10%", "cut@profiles:7-", seed=1)

A spec is `KIND[=VALUE][@[ENDPOINT:]WHEN]` or `KIND[=VALUE]@ENDPOINT`:

- WHEN is `7` (the seventh call), `7-9`, `7-` (from the seventh on) or `10%` (at random). Without
  it, every call has the fault.
- ENDPOINT is the path below the service's prefix, as in `Request.endpoint`. A fault counts the
  calls of its endpoint; without one, all calls.

`kinds` lists the kinds. If several faults apply to a call, the first one is the outermost:
`cut@2,same-page` cuts the page that the second one returns.

A random fault depends on the seed, the spec, the endpoint and parameters, and on how often these
were requested before. It does not depend on the order in which different requests arrive.
"""

from __future__ import annotations

import gzip
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import lru_cache, partial
from itertools import repeat
from math import inf
from random import Random

from textlift.sandbox.page import page
from textlift.sandbox.server import Request, Response, Sandbox, Service

Answer = Callable[[Request], Response]
Make = Callable[[Request, Answer], Response]
"""Answers a call with a fault, given what answers it otherwise."""
Find = Callable[[str, bytes], "tuple[int, int] | None"]
"""The start and end of something in the body of an endpoint, None if it is not there."""
Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Damage:
    """The faults of one service."""

    failure: Callable[[int], Response]
    """Returns the answer with an HTTP status that tells a failure."""
    is_endpoint: Callable[[str], bool]
    record: Find
    """Finds the first record of a page."""
    between: bytes
    """The bytes between two records."""
    window: frozenset[str]
    """The parameters of windows."""
    kinds: Mapping[str, Make]
    """The kinds that only this service has."""
    valued: Mapping[str, Callable[[str | None], Make]] = field(default_factory=dict)
    """Kinds with a value, by `NAME=VALUE`. They raise ValueError for an invalid one."""
    transient: tuple[str, ...] = ()
    """The kinds that a client has to survive."""
    name: Callable[[str], str] = lambda endpoint: endpoint
    """What a spec calls an endpoint."""


def rehearse(box: Sandbox, *specs: str, seed: int = 1) -> Faults:
    """Add faults to a sandbox. Raises ValueError for an invalid spec.

    Pass the result to `box.faults.remove` to end them.
    """
    faults = Faults(box.service, specs, seed)
    box.faults.append(faults)
    return faults


def kinds(damage: Damage) -> list[str]:
    """All kinds for a service, with the values that they take."""
    valued = ("400-599[=SECONDS|=date]", "drip[=SECONDS]", "drip-head[=SECONDS]")
    return [*valued, *damage.valued, *_KINDS, *damage.kinds, "transient"]


class Faults:
    """An entry of `Sandbox.faults`, which `rehearse` adds."""

    def __init__(self, service: Service, specs: Iterable[str], seed: int = 1) -> None:
        """Parse the specs. One text can hold several, separated by commas."""
        self._service = service
        texts = [text.strip() for spec in specs for text in spec.split(",")]
        self._faults = [_fault(text, service.damage, seed) for text in texts]
        self._requested: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response | None:
        """The faulty answer to a call; None if no fault applies."""
        wanted = repr((request.endpoint, sorted(request.query)))
        with self._lock:
            before = self._requested[wanted]
            self._requested[wanted] += 1
            name = self._service.damage.name(request.endpoint)
            due = [fault.due(name, f"{wanted}/{before}") for fault in self._faults]
        makes = [make for make in due if make is not None]
        if not makes:
            return None
        answer: Answer = self._service.answer
        for make in reversed(makes):
            answer = partial(_apply, make, answer)
        return answer(request)


def damaged(record: Find, change: Change) -> Make:
    """A fault that changes one record of a page and nothing else."""

    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        body = response.body
        place = record(request.endpoint, body)
        if place is None:
            return response
        start, end = place
        return replace(response, body=body[:start] + change(body[start:end]) + body[end:])

    return make


def at_end_of(pattern: str, extra: bytes) -> Change:
    """A change that adds bytes to the last group of the first match."""
    search = re.compile(pattern.encode()).search

    def change(record: bytes) -> bytes:
        match = search(record)
        if match is None:
            return record
        end = match.end(match.lastindex or 0)
        return record[:end] + extra + record[end:]

    return change


def instead_of(pattern: str, other: bytes) -> Change:
    """A change that replaces the last group of the first match."""
    search = re.compile(pattern.encode()).search

    def change(record: bytes) -> bytes:
        match = search(record)
        if match is None:
            return record
        start, end = match.span(match.lastindex or 0)
        return record[:start] + other + record[end:]

    return change


# --- specs ---------------------------------------------------------------------------------------

_SPEC = re.compile(r"(?P<kind>[^=@]+)(?:=(?P<value>[^=@]+))?(?:@(?P<where>[^=@]+))?")
_STATUS = re.compile(r"[45][0-9]{2}")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_RETRY_AFTER = re.compile(r"[0-9]{1,9}|date")
_WHEN = re.compile(r"(?P<first>[0-9]+)(?P<range>-(?P<last>[0-9]*))?|(?P<share>[0-9]+(\.[0-9]+)?)%")


@dataclass
class _Fault:
    spec: str
    makes: list[Make]
    """One of them is chosen at random."""
    endpoint: str | None
    first: int
    last: float
    share: float
    seed: int
    calls: int = 0

    def due(self, endpoint: str, request: str) -> Make | None:
        """What to do with a call, None if nothing. Counts the call."""
        if self.endpoint not in (None, endpoint):
            return None
        self.calls += 1
        if not self.first <= self.calls <= self.last:
            return None
        random = Random(f"{self.seed}/{self.spec}/{request}")
        return random.choice(self.makes) if random.random() < self.share else None


def _fault(spec: str, damage: Damage, seed: int) -> _Fault:
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"not a fault: {spec!r}; expected KIND[=VALUE][@[ENDPOINT:]WHEN]")
    kind, value = match["kind"], match["value"]
    if kind == "transient":
        _refuse_value(kind, value)
        names = [*_TRANSIENT, *damage.transient]
        makes = [_fault(name, damage, seed).makes[0] for name in names]
    else:
        makes = [_make(kind, value, damage)]
    endpoint, when = _place(match["where"])
    if endpoint is not None and not damage.is_endpoint(endpoint):
        raise ValueError(f"no endpoint {endpoint!r} for the fault {spec!r}")
    first, last, share = (1, inf, 1.0) if when is None else _when(when, spec)
    return _Fault(spec, makes, endpoint, first, last, share, seed)


def _place(where: str | None) -> tuple[str | None, str | None]:
    """ENDPOINT and WHEN."""
    if where is None:
        return None, None
    endpoint, colon, when = where.rpartition(":")
    if colon:
        return endpoint, when
    # An endpoint starts with a letter, WHEN does not.
    return (where, None) if where[0].isalpha() else (None, where)


def _when(text: str, spec: str) -> tuple[int, float, float]:
    """The first call, the last call, and the share of the calls between them."""
    match = _WHEN.fullmatch(text)
    if match and match["share"]:
        share = float(match["share"]) / 100
        if 0 < share <= 1:
            return 1, inf, share
    elif match:
        first = int(match["first"])
        last = inf if match["range"] else first
        if match["last"]:
            last = int(match["last"])
        if 1 <= first <= last:
            return first, last, 1.0
    raise ValueError(
        f"not a time for the fault {spec!r}: {text!r}; expected 7 (the seventh call), "
        "7-9, 7- (from the seventh on) or 10%"
    )


def _make(kind: str, value: str | None, damage: Damage) -> Make:
    if _STATUS.fullmatch(kind):
        return _status(int(kind), value, damage)
    if kind in ("drip", "drip-head"):
        return _drip(1.0 if value is None else _seconds(kind, value), kind == "drip-head")
    for name, valued in damage.valued.items():
        if kind == name.partition("=")[0]:
            return valued(value)
    make = damage.kinds.get(kind) or (_KINDS[kind](damage) if kind in _KINDS else None)
    if make is None:
        raise ValueError(f"no fault {kind!r} here; there are {', '.join(kinds(damage))}")
    _refuse_value(kind, value)
    return make


def _refuse_value(kind: str, value: str | None) -> None:
    if value is not None:
        raise ValueError(f"the fault {kind!r} takes no value, not {value!r}")


def _seconds(kind: str, value: str) -> float:
    if not _SECONDS.fullmatch(value):
        raise ValueError(f"not a number of seconds for the fault {kind!r}: {value!r}")
    return float(value)


# --- kinds ---------------------------------------------------------------------------------------


def _apply(make: Make, answer: Answer, request: Request) -> Response:
    return make(request, answer)


def _instead(response: Response) -> Make:
    return lambda request, answer: response


def _status(status: int, value: str | None, damage: Damage) -> Make:
    if value is not None and not _RETRY_AFTER.fullmatch(value):
        raise ValueError(f"not a Retry-After for the fault {status}: {value!r}; seconds, or date")

    def make(request: Request, answer: Answer) -> Response:
        failure = damage.failure(status)
        if value is None:
            return failure
        time = datetime.now(timezone.utc) + timedelta(seconds=2)
        retry_after = format_datetime(time, usegmt=True) if value == "date" else value
        return replace(failure, headers={**failure.headers, "Retry-After": retry_after})

    return make


def _drip(pause: float, head: bool) -> Make:
    return lambda request, answer: replace(answer(request), drip=pause, drip_head=head)


def _cut(request: Request, answer: Answer) -> Response:
    response = answer(request)
    return replace(response, body=response.body[: len(response.body) // 2])


def _truncated(request: Request, answer: Answer) -> Response:
    response = answer(request)
    return replace(response, truncate=len(response.body) // 2)


def _redirect(request: Request, answer: Answer) -> Response:
    url = f"https://example.org{request.path}"
    return page(302, "Found", f"The document has moved to {url}.", Location=url)


def _without(names: frozenset[str]) -> Make:
    """Answers the same call without some parameters."""

    def make(request: Request, answer: Answer) -> Response:
        query = [(name, value) for name, value in request.query if name not in names]
        return answer(replace(request, query=query))

    return make


def _beginning(damage: Damage, endpoint: str, body: bytes) -> tuple[bytes, bytes]:
    """A body up to where a record can follow, and that record; half of it and a blank if none."""
    place = damage.record(endpoint, body)
    if place is None:
        return body[: len(body) // 2], b" "
    return body[: place[1]], damage.between + body[slice(*place)]


@lru_cache
def _blanks() -> bytes:
    """Two gigabytes of blanks, compressed. A gzip file can repeat a member."""
    return gzip.compress(b" " * 2**26) * 2**5


def _bomb(damage: Damage) -> Make:
    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        beginning, _ = _beginning(damage, request.endpoint, response.body)
        headers = {**response.headers, "Content-Encoding": "gzip"}
        return replace(response, body=gzip.compress(beginning) + _blanks(), headers=headers)

    return make


def _endless(damage: Damage) -> Make:
    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        beginning, piece = _beginning(damage, request.endpoint, response.body)
        piece *= -(-_CHUNK // len(piece))
        return replace(response, body=beginning, stream=repeat(piece))

    return make


_CHUNK = 1 << 14
_SORRY = page(200, "Sorry", "We are down for repairs.")

_KINDS: dict[str, Callable[[Damage], Make]] = {
    "html": lambda damage: _instead(_SORRY),
    "empty": lambda damage: lambda request, answer: replace(answer(request), body=b""),
    "cut": lambda damage: _cut,
    "truncated": lambda damage: _truncated,
    "reset": lambda damage: _instead(Response(reset=True)),
    "drop": lambda damage: _instead(Response(drop=True)),
    "hang": lambda damage: _instead(Response(hang=True)),
    "redirect": lambda damage: _redirect,
    "bomb": _bomb,
    "endless": _endless,
    "same-page": lambda damage: _without(frozenset(("page",))),
    "any-window": lambda damage: _without(damage.window),
}
"""The kinds that every service has."""

_TRANSIENT = (
    *("429", "429=0", "503", "500", "502", "504"),
    *("html", "empty", "cut", "truncated", "reset", "drop"),
)
"""The kinds that a client of any service has to survive."""
