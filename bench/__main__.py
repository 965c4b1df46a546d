"""Measures: ``python -m bench`` everything, for docs/benchmarks.md; ``python -m bench NAME...`` some.

This process stays small, because the peak memory of a process that it starts is at least its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.report import DOCUMENT, render
from bench.server import COMPANY, PROJECT, START, TOKEN, Server

Figures = dict[str, Any]

SIZES = (20_000, 200_000)
MANY = 2_000_000
CROWD = 500_000
#: Profiles of the account in which nothing new happens: those of ``make demo``.
LIVING = 2_000
LATENCIES = (0.0, 0.3)
#: Of textlift and lxml, which are quick; the others run once.
TIMES = 5
#: Seconds after which a way is given up, and how many times what textlift takes it may take.
TIMEOUT = 1800
MOST_TIMES = 16
#: The exit code of a way that took more memory than there is, and so was not let finish either.
KILLED = -signal.SIGKILL


def compare(kind: str, size: int) -> Figures:
    """Each way, with the same rows, at each latency."""
    results = []
    with Server(kind, size) as server:
        # Asks for what is asked below, so that the sandbox has it ready.
        rows = run("survey", kind, server)["rows"]
        run("textlift", kind, server)
        only = {kind: rows[kind]}
        for latency in LATENCIES:
            ways = {"textlift": rows} if latency else {"textlift": rows, "lxml": only}
            ours, *floor = best(ways, kind, server, latency)
            timeout = min(TIMEOUT, MOST_TIMES * ours["seconds"])
            results += [ours, measure("idiomatic", kind, server, latency, rows, timeout)]
            if kind == "profiles":
                results += [measure("parsons", kind, server, latency, only, timeout)]
            results += floor
        parts = [measure("parts", kind, server, latency, rows) for latency in LATENCIES]
    return {"kind": kind, "rows": rows, "results": results, "parts": parts}


def many() -> Figures:
    """As many profiles as no memory should depend on."""
    with Server("profiles", MANY) as server:
        run("textlift", "profiles", server)
        figures = measure("textlift", "profiles", server, 0.0, None)
    if not figures["unfinished"] and figures["rows"]["profiles"] != MANY:
        sys.exit(f"textlift loaded {figures['rows']} of {MANY} profiles")
    return figures


def nothing_new() -> Figures:
    """The command line, all resources, when all there is has been loaded."""
    runs = []
    with Server("living", LIVING) as server, tempfile.TemporaryDirectory() as folder:
        environment = {
            **clean_environment(),
            "PIPELINES_DIR": str(Path(folder, "state")),
            "SOURCES__MCOMMONS__BASE_URL": server.url,
            "SOURCES__MCOMMONS__CREDENTIALS__TOKEN": TOKEN,
            "SOURCES__MCOMMONS__COMPANY": COMPANY,
            "SOURCES__MCOMMONS__START_DATE": START,
            "SOURCES__MCOMMONS__FUNDRAISING_IDS": "[501, 502]",
        }
        for _ in range(1 + TIMES):
            server.begin(0.0)
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, str(PROJECT / "pipelines" / "mcommons.py")],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT,
            )
            elapsed = time.perf_counter() - started
            if done.returncode:
                sys.exit(f"the pipeline failed\n{done.stdout}{done.stderr}")
            runs.append({"seconds": elapsed, **server.calls()})
            say(f"  {elapsed:8.1f} s  {done.stdout.splitlines()[-1]}")
    return min(runs[1:], key=lambda figures: figures["seconds"])


def empty_years() -> Figures:
    """A first load over 15 years of an account with parents and nothing else."""
    with Server("empty", 1) as server:
        return run("textlift_long", "all", server)


def crowded_day() -> Figures:
    """A first load over 15 quiet years with one crowded day."""
    with Server("crowded", CROWD) as server:
        figures = run("textlift_long", "outgoing_messages", server)
    check("textlift", figures, {"outgoing_messages": CROWD})
    return figures


#: The short ones first: what is broken shows early.
SCENARIOS: dict[str, Callable[[], Figures]] = {
    "nothing-new": nothing_new,
    "empty-years": empty_years,
    "crowded-day": crowded_day,
    **{
        f"{kind}-{size}": partial(compare, kind, size)
        for size in SIZES
        for kind in ("profiles", "outgoing_messages")
    },
    f"profiles-{MANY}": many,
}


def best(
    ways: Mapping[str, Figures], kind: str, server: Server, latency: float
) -> Iterator[Figures]:
    """For each way and its rows, the fastest of some runs, with the most memory that any took.

    The ways take turns: a machine that others use as well changes its speed within minutes.
    """
    turns = [
        [measure(way, kind, server, latency, rows) for way, rows in ways.items()]
        for _ in range(TIMES)
    ]
    for runs in zip(*turns):
        megabytes = max(figures["megabytes"] or 0 for figures in runs)
        yield {**min(runs, key=lambda figures: figures["seconds"]), "megabytes": megabytes}


def measure(
    way: str,
    kind: str,
    server: Server,
    latency: float,
    rows: Figures | None,
    timeout: float = TIMEOUT,
) -> Figures:
    """One run that finds all its answers ready and loads those rows."""
    for _ in range(3):
        figures = run(way, kind, server, latency, timeout)
        if figures["unfinished"]:
            return figures
        if rows is not None:
            check(way, figures, rows)
        if not figures["made"]:
            return figures
        say(f"  {figures['made']} of its answers had to be made: once more")
    sys.exit(f"{way} never asks the same questions twice, so that the sandbox is measured as well")


def check(way: str, figures: Figures, rows: Figures) -> None:
    """Exit if something else was loaded."""
    loaded = {table: count for table, count in figures["rows"].items() if count}
    if loaded != {table: count for table, count in rows.items() if count}:
        sys.exit(f"{way} loaded {loaded}, and not {rows}")


def run(
    way: str, kind: str, server: Server, latency: float = 0.0, timeout: float = TIMEOUT
) -> Figures:
    """One run of a way in a process and a folder of its own; exit if it fails."""
    figures: Figures = {"way": way, "latency": latency, "unfinished": False}
    with tempfile.TemporaryDirectory() as folder:
        server.begin(latency)
        started = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "bench.ways", way, kind, server.url],
                cwd=folder,
                env=clean_environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = KILLED
        if code == KILLED:
            elapsed = time.perf_counter() - started
            figures |= {"unfinished": True, "seconds": elapsed, "megabytes": None, "rows": {}}
        elif code:
            sys.exit(f"{way} failed\n{done.stdout}{done.stderr}")
        else:
            figures |= json.loads(done.stdout.splitlines()[-1])
        figures |= server.calls()
    say(
        f"  {figures['seconds']:8.1f} s  {figures['megabytes']} MB  "
        f"{sum(figures['requests'].values())} requests  {way}, {latency * 1000:g} ms a request"
    )
    return figures


def clean_environment() -> dict[str, str]:
    """The environment without the settings of whoever measures."""
    settings = ("SOURCES__", "DESTINATION__", "RUNTIME__", "DLT_", "PIPELINES_DIR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    return {**kept, "PYTHONPATH": str(PROJECT / "sources"), "RUNTIME__DLTHUB_TELEMETRY": "false"}


def say(line: str) -> None:
    """Show how it goes."""
    print(line, file=sys.stderr, flush=True)


def main(names: Sequence[str]) -> None:
    """Run the scenarios of these names, or all of them, and write what they showed."""
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        sys.exit(f"no {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    figures = {}
    for name in names or SCENARIOS:
        say(name)
        figures[name] = SCENARIOS[name]()
        if not names:
            # After each: it takes long, and what is known is known.
            DOCUMENT.parent.mkdir(exist_ok=True)
            DOCUMENT.write_text(render(figures), encoding="utf-8")
    say(render(figures) if names else f"written to {DOCUMENT.relative_to(PROJECT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
