"""Render the figures as the text of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.server import COLUMNS, PROJECT

Figures = Mapping[str, Any]

DOCUMENT = PROJECT / "docs" / "benchmarks.md"
PACKAGES = ("dlt", "duckdb", "lxml", "pyarrow", "requests", "xmltodict", "parsons")
NAMES = {
    "textlift": "textlift",
    "hashed": "textlift, nearly all personal columns hashed",
    "idiomatic": "idiomatic dlt",
    "parsons": "Parsons",
    "lxml": "lxml, the tree alone",
}
#: Way of textlift → requests at a time.
AT_A_TIME = {"textlift": 16, "textlift_80": 80}
UNFINISHED = "not finished"

HEAD = """\
# Benchmarks

Written by `{command}` on {date}; do not edit. It runs for about 40 minutes.

{machine}

The sandbox runs on the same machine and shares its cores with what is measured.
"""

METHOD = """\
## How it is measured

All ways read the same invented account from the same sandbox, over HTTP on the loopback interface.
Every profile has {columns} custom columns and up to 3 subscriptions. The sandbox's clock stands
still, and it answers from memory with bytes that are compressed already: all answers were made in a
pass before, and a run that misses more than one in a hundred does not count. The latency is slept by
each request.

Each way runs in a process and a folder of its own. Seconds are those of the wall clock from before
the first request to after the last commit, without starting Python; memory is the peak of the
process. Rows in the DuckDB file are counted afterwards, in all tables, and a wrong number ends the
benchmark. textlift and lxml, which take turns, are the best of 5 runs, with the most memory of the 5;
the others run once. A way that is given up when it has taken 16 times as long as textlift, or killed
by the system for its memory, took "more than" that.

- **textlift** is the whole pipeline as its command line runs it: HTTP to DuckDB, all child tables,
  merged, in packages, each committed with its cursors.
- **idiomatic dlt** is [`bench/idiomatic.py`](../bench/idiomatic.py): a resource that pages with
  requests, decodes with xmltodict and yields each page's dictionaries, with dlt's defaults. It
  merges into DuckDB, and its lists become child tables.
- **Parsons** is `get_profiles` with custom columns and subscriptions, written to a CSV file and
  from there to one table of text in DuckDB. It has no method for messages.
- **lxml** builds the tree of each page with `lxml.etree.fromstring` from unpacked bytes in memory,
  one thread, each tree freed before the next, and does nothing else. Nothing that parses with lxml
  in one thread can be faster.

Where the time goes is measured in runs of their own, with timers around functions. Seconds of a core
are those that threads computed, all threads together; the rest is theirs to wait, for the service or
for a core. What dlt and DuckDB do is in dlt's steps: extract is everything up to the files that dlt
keeps, so it holds the other parts.

The least time at a latency is what the pages of 1,000 rows take if as many requests as may be under
way always are; with 300 ms, and with 80 at a time, it is the time without latency if that is longer.
Each is the better of two runs. A probe requests one row, to find out if a page has any.

A run with nothing new is that of `pipelines/mcommons.py` for all resources, from the start of the
process to its end, against a sandbox with 2,000 profiles that was in use until the benchmark began,
and was loaded before; the best of 5. Its requests are to be one for each list and for each window of
each parent. The 15 empty years are those of an account with one campaign, group, mConnect, tiny URL
and mData. The crowded day has its messages evenly over 24 hours, and is read without knowing where in
15 years it lies.

The hourly run reads profiles and groups, and the members of the groups, which a run an hour before has
loaded. The hour is 300 s here, and the interval at which groups are read completely is 24 of these.

The large tables are those of a first load of 200,000 profiles, with 39 other profiles and their lists
stored behind each one: 8,000,000 profiles and 64,000,000 custom columns. The same 200,000 are then
loaded again, without cursors; a tenth of them has changed a custom column. Loads into these tables and
into empty ones take turns; the ratio is that of the fastest load steps of 5, the memory the most of 5. In PostgreSQL it is that of the
fastest load steps of 4, each with 12 new rows.

The receiver of webhooks is `textlift webhooks mobiniti` in a process of its own, and the client is in another one on the same machine.
Each connection sends a body of 250 bytes when the one before got its 200, so each body is on disk. Beside it is the
median time to write such a body into a file and to sync that, with nothing else going on. Segments of a kind begin at least 10 ms apart, so one connection
alone cannot be faster than 100 posts per second.
"""


@dataclass(frozen=True)
class Target:
    """An expected result: a ratio or a number, and its bound."""

    what: str
    bound: str
    measured: Callable[[Figures], tuple[str, bool] | None]


def render(figures: Figures) -> str:
    """Return the document, with the sections for which there are figures."""
    sections = [_head(), _targets(figures)]
    sections += [_comparison(found) for found in figures.values() if "results" in found]
    sections += [_waits(figures), _parts(figures), _steps(figures), _others(figures)]
    sections += [_privacy(figures), _webhooks(figures)]
    sections += [METHOD.format(columns=COLUMNS)]
    return "\n".join(section for section in sections if section)


def _head() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = (
        f"{_processor()}, {cores} cores, {platform.system()}; "
        f"Python {platform.python_version()}, {versions}."
    )
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return HEAD.format(command="make bench", date=date, machine=machine)


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    for line in file.read_text().splitlines() if file.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# --- targets -------------------------------------------------------------------------------------


def _targets(figures: Figures) -> str:
    rows = []
    for target in TARGETS:
        found = target.measured(figures)
        if found:
            measured, met = found
            rows.append((target.what, target.bound, measured, "met" if met else "**not met**"))
    return _section("Targets", ("what", "target", "measured", ""), rows)


def _result(figures: Figures, name: str, way: str, latency: float) -> Figures | None:
    """Return the figures of a way in a comparison, or ``None``."""
    for result in figures.get(name, {}).get("results", ()):
        if result["way"] == way and result["latency"] == latency:
            found: Figures = result
            return found
    return None


def _times_faster(
    name: str, way: str, latency: float, least: float
) -> Callable[[Figures], tuple[str, bool] | None]:
    """Return a function for the ratio of the time of another way to that of textlift."""

    def measured(figures: Figures) -> tuple[str, bool] | None:
        ours = _result(figures, name, "textlift", latency)
        theirs = _result(figures, name, way, latency)
        if not ours or not theirs:
            return None
        ratio = theirs["seconds"] / ours["seconds"]
        # If the other way was stopped, its real ratio is even higher.
        return f"{_more(theirs)}{_short(ratio)}", ratio >= least and not ours["unfinished"]

    return measured


def _of_many(key: str, most: float) -> Callable[[Figures], tuple[str, bool] | None]:
    """Return a function for the ratio of a figure for 2,000,000 profiles to that for 200,000."""

    def measured(figures: Figures) -> tuple[str, bool] | None:
        few = _result(figures, "profiles-200000", "textlift", 0.0)
        many = figures.get("profiles-2000000")
        if not few or not many:
            return None
        if few["unfinished"] or many["unfinished"]:
            return UNFINISHED, False
        ratio = many[key] / few[key]
        return f"{ratio:.2f}", ratio <= most

    return measured


def _number(
    name: str, of: Callable[[Figures], float], unit: str, fits: Callable[[Figures], bool]
) -> Callable[[Figures], tuple[str, bool] | None]:
    """Return a function for a figure of one scenario."""

    def measured(figures: Figures) -> tuple[str, bool] | None:
        found = figures.get(name)
        if not found:
            return None
        if found.get("unfinished"):
            return UNFINISHED, False
        return f"{_short(of(found))}{unit}", fits(found)

    return measured


def _wait(figures: Figures, kind: str, way: str, latency: float) -> Figures | None:
    """Return the figures of a load at a latency, with the ratio of its time to the least possible.

    That is the time of its pages at the latency, or the time without latency if that is longer.
    """
    found = figures.get(f"latency-{kind}")
    if not found:
        return None
    runs = {(run["way"], run["latency"]): run for run in found["waits"]}
    run, free = runs[way, latency], runs["textlift", 0.0]
    bound = found["pages"] / AT_A_TIME[way] * latency
    least = bound if latency == 1.0 and way == "textlift" else max(bound, free["seconds"])
    return {**run, "ratio": run["seconds"] / least, "each": _requests(run) / found["pages"]}


def _at_latency(
    kind: str, way: str, latency: float, key: str, most: float
) -> Callable[[Figures], tuple[str, bool] | None]:
    """Return a function for the ratio, or the requests for each page, of a load at a latency."""

    def measured(figures: Figures) -> tuple[str, bool] | None:
        found = _wait(figures, kind, way, latency)
        return (f"{found[key]:.2f}", found[key] <= most) if found else None

    return measured


def _latency_targets(kind: str, each: float) -> tuple[Target, ...]:
    """Return the targets of a kind of rows at latencies; ``each`` are requests for each page."""
    rows = f"200,000 {kind.replace('_', ' ')}"
    first = Target(
        f"{rows}, requests for each page",
        f"≤ {each}",
        _at_latency(kind, "textlift", 1.0, "each", each),
    )
    waits = (("textlift", 1.0, 1.5), ("textlift", 0.3, 1.3), ("textlift_80", 1.0, 1.6))
    return first, *(
        Target(
            f"{rows} at {latency:g} s a request, {AT_A_TIME[way]} at a time, against the least time",
            f"≤ {most} times",
            _at_latency(kind, way, latency, "ratio", most),
        )
        for way, latency, most in waits
    )


def _requests(figures: Figures) -> int:
    return sum(_by_endpoint(figures))


def _questions(figures: Figures) -> int:
    return sum(figures["questions"].values())


def _most_requests(figures: Figures) -> int:
    return max(_by_endpoint(figures))


def _by_endpoint(figures: Figures) -> list[int]:
    return list(figures["requests"].values())


def _lists_and_windows(figures: Figures) -> tuple[str, bool] | None:
    found = figures.get("nothing-new")
    if not found:
        return None
    made, needed = _requests(found), _questions(found)
    return f"{made} for {needed}", made == needed


def _cost_of_privacy(name: str) -> Callable[[Figures], tuple[str, bool] | None]:
    """Return a function for the time of a load with a policy, against one without."""

    def measured(figures: Figures) -> tuple[str, bool] | None:
        if name not in figures:
            return None
        clear, hashed = figures[name]["privacy"]
        ratio = hashed["seconds"] / clear["seconds"]
        return f"{ratio:.2f}", ratio <= 1.1

    return measured


TARGETS = (
    Target(
        "200,000 profiles at 300 ms a request, against Parsons",
        "≥ 15 times faster",
        _times_faster("profiles-200000", "parsons", 0.3, 15),
    ),
    Target(
        "200,000 profiles at no latency, against the idiomatic dlt connector",
        "≥ 15 times faster",
        _times_faster("profiles-200000", "idiomatic", 0.0, 15),
    ),
    Target(
        "200,000 profiles at no latency, against the bare lxml tree",
        "≥ 0.5 of its rate",
        _times_faster("profiles-200000", "lxml", 0.0, 0.5),
    ),
    Target(
        "peak memory of 2,000,000 profiles against 200,000",
        "≤ 1.2 times",
        _of_many("megabytes", 1.2),
    ),
    Target(
        "peak memory of 2,000,000 profiles",
        "≤ 450 MB",
        _number(
            "profiles-2000000",
            lambda found: found["megabytes"],
            " MB",
            lambda found: found["megabytes"] <= 450,
        ),
    ),
    Target(
        "peak memory, 200,000 profiles into tables of 8,000,000",
        "≤ 700 MB",
        _number(
            "large-tables",
            lambda found: found["megabytes"],
            " MB",
            lambda found: found["megabytes"] <= 700,
        ),
    ),
    Target(
        "load step of that package, against empty tables",
        "≤ 1.5 times",
        _number(
            "large-tables",
            lambda found: found["load_ratio"],
            "",
            lambda found: found["load_ratio"] <= 1.5,
        ),
    ),
    Target(
        "PostgreSQL, 12 new rows into a table of 10,000,000, against one of 10,000",
        "≤ 1.3 times",
        _number(
            "postgres-keys",
            lambda found: found["large"] / found["small"],
            "",
            lambda found: found["large"] <= 1.3 * found["small"],
        ),
    ),
    Target(
        "profiles with nearly all personal columns hashed, against in clear",
        "≤ 1.1 times",
        _cost_of_privacy("privacy-profiles"),
    ),
    Target(
        "sent messages with nearly all personal columns hashed, against in clear",
        "≤ 1.1 times",
        _cost_of_privacy("privacy-outgoing_messages"),
    ),
    Target("time of 2,000,000 profiles against 200,000", "≤ 11 times", _of_many("seconds", 11)),
    Target(
        "a run with nothing new, all resources, from process start",
        "≤ 2 s",
        _number(
            "nothing-new",
            lambda found: found["seconds"],
            " s",
            lambda found: found["seconds"] <= 2,
        ),
    ),
    Target("its requests, for so many windows and parents", "one each", _lists_and_windows),
    Target(
        "first load over 15 empty years, requests of a resource",
        "< 20",
        _number("empty-years", _most_requests, "", lambda found: _most_requests(found) < 20),
    ),
    Target(
        "deepest page, 500,000 messages of one day among quiet years",
        "≤ 100",
        _number(
            "crowded-day",
            lambda found: found["deepest"],
            "",
            lambda found: found["deepest"] <= 100,
        ),
    ),
    Target(
        "hourly run: 1,000,000 profiles, 50 groups of 20,000, 500 changed; requests",
        "≤ 150",
        _number("hourly", _requests, "", lambda found: _requests(found) <= 150),
    ),
    Target(
        "the same at 300 ms a request",
        "≤ 10 s",
        _number(
            "hourly", lambda found: found["seconds"], " s", lambda found: found["seconds"] <= 10
        ),
    ),
    *_latency_targets("profiles", 1.25),
    *_latency_targets("outgoing_messages", 1.15),
)


# --- tables --------------------------------------------------------------------------------------


def _comparison(found: Figures) -> str:
    """Return the table of all ways with the same rows. lxml is only measured without latency."""
    kind, rows = found["kind"], found["rows"][found["kind"]]
    ours = {result["latency"]: result for result in found["results"] if result["way"] == "textlift"}
    lines = []
    for result in sorted(found["results"], key=lambda result: result["latency"]):
        ratio = result["seconds"] / ours[result["latency"]]["seconds"]
        rate = rows / result["seconds"]
        lines.append(
            (
                f"{1000 * result['latency']:g} ms",
                NAMES[result["way"]],
                f"{_more(result)}{result['seconds']:.1f}",
                f"{'less than ' if result['unfinished'] else ''}{rate:,.0f}",
                f"{_more(result)}{_short(ratio)}",
                "" if result["megabytes"] is None else str(result["megabytes"]),
                f"{_requests(result):,}",
            )
        )
    title = f"{rows:,} {kind.replace('_', ' ')}"
    head = ("a request", "way", "seconds", "rows/s", "time against textlift", "peak MB", "requests")
    return _section(title, head, lines)


def _parts(figures: Figures) -> str:
    """Return the table of CPU seconds by part, with the time that request threads waited."""
    lines = []
    for name, found in figures.items():
        for result in found.get("parts", ()):
            busy, idle = result["parts"]["busy"], result["parts"]["idle"]
            waiting = idle["HTTP"] + idle["unpacking"]
            seconds = [f"{busy[part]:.1f}" for part in PARTS]
            latency = f"{1000 * result['latency']:g} ms"
            lines.append((name, latency, *seconds, f"{waiting:.1f}", f"{result['seconds']:.1f}"))
    head = ("seconds of a core", "a request", *PARTS, "waiting, 16 threads", "in all, wall clock")
    return _section("Where the time goes", head, lines)


PARTS = ("HTTP", "unpacking", "decoding", "Arrow")


def _steps(figures: Figures) -> str:
    lines = []
    for name, found in figures.items():
        for result in found.get("results", [found]):
            if result.get("steps"):
                steps = [f"{result['steps'].get(step, 0):.1f}" for step in STEPS]
                total, packages = f"{result['seconds']:.1f}", str(result["packages"])
                latency = f"{1000 * result['latency']:g} ms"
                lines.append((name, latency, *steps, total, packages))
    head = ("textlift, seconds", "a request", *STEPS, "in all", "packages")
    return _section("dlt's steps", head, lines)


STEPS = ("extract", "normalize", "load")


def _waits(figures: Figures) -> str:
    lines = []
    for kind in ("profiles", "outgoing_messages"):
        for run in figures.get(f"latency-{kind}", {}).get("waits", ()):
            found = _wait(figures, kind, run["way"], run["latency"])
            assert found
            lines.append(
                (
                    kind,
                    f"{1000 * run['latency']:g} ms",
                    f"{AT_A_TIME[run['way']]}",
                    f"{run['seconds']:.1f}",
                    f"{found['ratio']:.2f}",
                    f"{_requests(run)}",
                    f"{found['each']:.2f}",
                    f"{run['probes']}",
                )
            )
    head = ("200,000", "a request", "at a time", "seconds", "times the least", "requests")
    return _section("Latency", (*head, "for each page", "probes"), lines)


def _privacy(figures: Figures) -> str:
    lines = [
        (name, NAMES[result["way"]], f"{result['seconds']:.1f}", str(result["megabytes"]))
        for name, found in figures.items()
        for result in found.get("privacy", ())
    ]
    return _section("With a policy", ("load", "way", "seconds", "peak MB"), lines)


def _others(figures: Figures) -> str:
    lines = []
    names = (
        "profiles-2000000",
        "large-tables",
        "nothing-new",
        "hourly",
        "empty-years",
        "crowded-day",
    )
    for name in names:
        found = figures.get(name)
        if found:
            lines.append(
                (
                    name,
                    f"{_more(found)}{found['seconds']:.1f}",
                    str(found.get("megabytes") or ""),
                    f"{_requests(found):,}",
                    f"{_most_requests(found):,}",
                    str(found["deepest"]),
                )
            )
    head = ("textlift", "seconds", "peak MB", "requests", "most of one endpoint", "deepest page")
    return _section("Other loads", head, lines)


def _webhooks(figures: Figures) -> str:
    found = figures.get("webhooks", {"receiver": ()})
    lines = [
        (
            f"{run['connections']}",
            f"{run['posts']:,}",
            f"{run['posts'] / run['seconds']:,.0f}",
            f"{1000 * run['median']:.1f}",
            f"{1000 * run['late']:.1f}",
            f"{1000 * found['bare_write']:.1f}",
        )
        for run in found["receiver"]
    ]
    head = ("connections", "posts", "posts/s", "median ms", "99% within ms", "ms to write a file")
    return _section("One receiver of webhooks", head, lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _more(result: Figures) -> str:
    return "more than " if result.get("unfinished") else ""


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a heading and a table, or nothing without rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if not lines:
        return ""
    rule = "|" + "---|" * len(head)
    return "\n".join([f"## {title}", "", "| " + " | ".join(head) + " |", rule, *lines, ""])
