"""Run the benchmarks: ``python -m bench`` for all, or ``python -m bench NAME...`` for some.

A run of all benchmarks writes docs/benchmarks.md. This process must use little memory, because the
peak memory of a child process is at least that of its parent.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.large import TIMES as LARGE
from bench.posts import post_all
from bench.report import DOCUMENT, render
from bench.server import COMPANY, PAGE_ROWS, PROJECT, START, TOKEN, Server

Figures = dict[str, Any]

SIZES = (20_000, 200_000)
MANY = 2_000_000
CROWD = 500_000
#: Profiles of the account for hourly runs, and the seconds that stand for an hour.
HOURLY, HOUR = 1_000_000, 300.0
#: Profiles of the account for runs with nothing new, as many as in ``make demo``.
LIVING = 2_000
LATENCIES = (0.0, 0.3)
#: Way and seconds of a request: how close a load comes to what a latency requires.
WAITS = (("textlift", 0.0), ("textlift", 0.3), ("textlift", 1.0), ("textlift_80", 1.0))
#: Number of runs of textlift and lxml, which are fast. The other ways run once.
TIMES = 5
#: Posts to the receiver of webhooks, and connections that they come over.
POSTS = 20_000
CONNECTIONS = (1, 100)
#: The DuckDB file that a way loads into.
LOADED = "bench.duckdb"
SECRET = "an-invented-secret-of-43-characters-0123456"
#: Time limit of a way: in seconds, and as a multiple of the time of textlift.
TIMEOUT = 1800
MOST_TIMES = 16
#: Share of the responses of a run that may not be ready. With many requests at a time, the order of
#: the responses decides where the next pages begin.
MOST_MADE = 0.01
#: Exit code of a way that was killed because it used too much memory. It also means unfinished.
KILLED = -signal.SIGKILL


def compare(kind: str, size: int) -> Figures:
    """Run each way on the same rows, at each latency, and return the figures."""
    results = []
    with Server(kind, size) as server:
        # These two runs send all requests of the later runs, so their responses are in memory.
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


def latency(kind: str, size: int) -> Figures:
    """Load the same rows at each latency and number of requests at a time."""
    with Server(kind, size) as server:
        rows = run("survey", kind, server)["rows"]
        runs = [
            min(
                (measure(way, kind, server, seconds, rows) for _ in range(2)),
                key=lambda figures: figures["seconds"],
            )
            for way, seconds in WAITS
        ]
    return {"pages": size / PAGE_ROWS, "waits": runs}


def privacy(kind: str) -> Figures:
    """Load the same rows with a policy and without one, in turns, and return the figures."""
    with Server(kind, SIZES[0]) as server:
        rows = run("survey", kind, server)["rows"]
        run("textlift", kind, server)
        ways = {"textlift": rows, "hashed": rows}
        return {"kind": kind, "rows": rows, "privacy": [*best(ways, kind, server, 0.0)]}


def many() -> Figures:
    """Load very many profiles, to show that memory does not depend on the number of rows."""
    with Server("profiles", MANY) as server:
        run("textlift", "profiles", server)
        figures = measure("textlift", "profiles", server, 0.0, None)
    if not figures["unfinished"] and figures["rows"]["profiles"] != MANY:
        sys.exit(f"textlift loaded {figures['rows']} of {MANY} profiles")
    return figures


def large_tables() -> Figures:
    """Load profiles into empty tables, and into tables of 40 times as many; best of some runs."""
    with Server("profiles", SIZES[-1]) as server, tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "large.duckdb")
        run("textlift", "profiles", server, keep=file)
        _make_large("duckdb", str(file))
        turns = [
            (run("textlift", "profiles", server), run("textlift", "profiles", server, file=file))
            for _ in range(TIMES)
        ]
    empty, large = zip(*turns)
    if {figures["rows"]["profiles"] for figures in large} != {LARGE * SIZES[-1]}:
        sys.exit(f"textlift loaded {large[0]['rows']}")
    best = min(large, key=_load_seconds)
    ratio = _load_seconds(best) / min(map(_load_seconds, empty))
    return {**best, "megabytes": max(map(_megabytes, large)), "load_ratio": ratio}


def _load_seconds(figures: Figures) -> float:
    return float(figures["steps"]["load"])


def _megabytes(figures: Figures) -> int:
    return int(figures["megabytes"])


def postgres_keys() -> Figures:
    """Load 12 new rows into a small and a large table in PostgreSQL."""
    small, large = json.loads(_make_large("postgres")).values()
    say(f"  {small:8.3f} s into the small table, {large:.3f} s into the large one")
    return {"small": small, "large": large}


def _make_large(*arguments: str) -> str:
    """Run ``bench.large`` in a process of its own and return what it prints last."""
    command = [sys.executable, "-m", "bench.large", *arguments]
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"large tables cannot be made\n{done.stdout}{done.stderr}")
    return done.stdout.strip().rpartition("\n")[2]


def nothing_new() -> Figures:
    """Run the command line for all resources, after a first load of the same account."""
    with Server("living", LIVING) as server, tempfile.TemporaryDirectory() as folder:
        ids = {"SOURCES__MCOMMONS__FUNDRAISING_IDS": "[501, 502]"}
        runs = [run_command(server, folder, ids) for _ in range(1 + TIMES)]
    return min(runs[1:], key=lambda figures: figures["seconds"])


def hourly() -> Figures:
    """Run the command line an hour after a first load of many profiles and members of groups.

    The hour is short, and so is the interval of complete reads: what counts is the part of it that
    has passed.
    """
    settings = {
        "SOURCES__MCOMMONS__REFRESH_HOURS": json.dumps({"group_members": 24 * HOUR / 3600}),
        "SOURCES__MCOMMONS__START_DATE": "2020-01-01",
    }
    resources = ("--resources", "profiles,groups,group_members")
    with Server("hourly", HOURLY) as server, tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        run_command(server, folder, settings, *resources)
        time.sleep(max(0.0, started + HOUR - time.monotonic()))
        server.change()
        return run_command(server, folder, settings, *resources, latency=0.3)


def run_command(
    server: Server, folder: str, settings: Mapping[str, str], *options: str, latency: float = 0.0
) -> Figures:
    """Run ``pipelines/mcommons.py`` in a process, and return the figures. Exit if it fails."""
    environment = {
        **clean_environment(),
        "PIPELINES_DIR": str(Path(folder, "state")),
        "SOURCES__MCOMMONS__BASE_URL": server.url,
        "SOURCES__MCOMMONS__CREDENTIALS__TOKEN": TOKEN,
        "SOURCES__MCOMMONS__COMPANY": COMPANY,
        "SOURCES__MCOMMONS__START_DATE": START,
        **settings,
    }
    server.begin(latency)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(PROJECT / "pipelines" / "mcommons.py"), *options],
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
    say(f"  {elapsed:8.1f} s  {done.stdout.splitlines()[-1]}")
    return {"seconds": elapsed, **server.calls()}


def empty_years() -> Figures:
    """Load 15 years of an account that has parents and no other rows."""
    with Server("empty", 1) as server:
        return run("textlift_long", "all", server)


def crowded_day() -> Figures:
    """Load 15 years of an account whose rows are all in one day."""
    with Server("crowded", CROWD) as server:
        figures = run("textlift_long", "outgoing_messages", server)
    check("textlift", figures, {"outgoing_messages": CROWD})
    return figures


def webhooks(count: int = POSTS) -> Figures:
    """Post to one receiver, over one connection and over many; and write bare files beside it."""
    with tempfile.TemporaryDirectory() as folder, receiving(Path(folder, "storage")) as port:
        runs = []
        for connections in CONNECTIONS:
            # A connection has one post under way, so one alone takes long.
            posts = count if connections > 1 else count // 20
            latencies: list[float] = []
            started = time.perf_counter()
            bodies = [(f"/{SECRET}/unsubscribes", _unsubscribe(n)) for n in range(posts)]
            asyncio.run(post_all(port, bodies, connections, acknowledged=latencies.append))
            elapsed = time.perf_counter() - started
            latencies.sort()
            median, late = latencies[posts // 2], latencies[posts * 99 // 100]
            runs.append({"connections": connections, "posts": posts, "seconds": elapsed})
            runs[-1] |= {"median": median, "late": late}
            say(f"  {posts / elapsed:8.0f} posts/s over {connections} connections")
        return {"receiver": runs, "bare_write": _bare_write(Path(folder))}


def _unsubscribe(number: int) -> bytes:
    time = "2024-06-01T11:00:00.000Z"
    contact = {"id": f"{number:036d}", "first_name": "Ada", "last_name": None, "email": None}
    times = {"unsubscribed_at": time, "created_at": time, "updated_at": time}
    return json.dumps({**contact, "phone_number": "+12025550143", "to": "64600", **times}).encode()


def _bare_write(folder: Path) -> float:
    """Return the median of the seconds that it takes to write and sync one body."""
    seconds = []
    for number in range(200):
        started = time.perf_counter()
        file = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT)
        os.write(file, _unsubscribe(number))
        os.fsync(file)
        os.close(file)
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[len(seconds) // 2]


@contextmanager
def receiving(storage: Path) -> Iterator[int]:
    """Yield the port of ``textlift webhooks mobiniti`` in a process of its own."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "textlift", "webhooks", "mobiniti"),
            *("--port", "0", "--storage", str(storage)),
        ],
        env={**clean_environment(), "SOURCES__MOBINITI__WEBHOOKS__SECRET": SECRET},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.kill()
        process.wait()


#: Short scenarios first, so that failures show early.
SCENARIOS: dict[str, Callable[[], Figures]] = {
    "webhooks": webhooks,
    "privacy-profiles": partial(privacy, "profiles"),
    "privacy-outgoing_messages": partial(privacy, "outgoing_messages"),
    "nothing-new": nothing_new,
    "empty-years": empty_years,
    "crowded-day": crowded_day,
    **{
        f"{kind}-{size}": partial(compare, kind, size)
        for size in SIZES
        for kind in ("profiles", "outgoing_messages")
    },
    **{
        f"latency-{kind}": partial(latency, kind, 200_000)
        for kind in ("profiles", "outgoing_messages")
    },
    "hourly": hourly,
    "postgres-keys": postgres_keys,
    "large-tables": large_tables,
    f"profiles-{MANY}": many,
}


def best(
    ways: Mapping[str, Figures], kind: str, server: Server, latency: float
) -> Iterator[Figures]:
    """Yield the fastest run of each way, with the peak memory of all its runs.

    The ways take turns, because the speed of a shared machine changes within minutes.
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
    """Return the figures of a run whose responses are all ready, and check its rows."""
    for _ in range(3):
        figures = run(way, kind, server, latency, timeout)
        if figures["unfinished"]:
            return figures
        if rows is not None:
            check(way, figures, rows)
        if figures["made"] <= MOST_MADE * sum(figures["requests"].values()):
            return figures
        say(f"  {figures['made']} of its answers had to be made: once more")
    sys.exit(f"{way} never asks the same questions twice, so that the sandbox is measured as well")


def check(way: str, figures: Figures, rows: Figures) -> None:
    """Exit if the loaded rows differ from the expected rows."""
    loaded = {table: count for table, count in figures["rows"].items() if count}
    if loaded != {table: count for table, count in rows.items() if count}:
        sys.exit(f"{way} loaded {loaded}, and not {rows}")


def run(
    way: str,
    kind: str,
    server: Server,
    latency: float = 0.0,
    timeout: float = TIMEOUT,
    file: Path | None = None,
    keep: Path | None = None,
) -> Figures:
    """Run a way once, in its own process and folder, and return the figures. Exit if it fails.

    Args:
        file: A copy of this DuckDB file is loaded into; without one, a new file.
        keep: The loaded file is moved there.
    """
    figures: Figures = {"way": way, "latency": latency, "unfinished": False}
    with tempfile.TemporaryDirectory() as folder:
        if file:
            shutil.copy(file, Path(folder, LOADED))
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
            if keep:
                shutil.move(Path(folder, LOADED), keep)
        figures |= server.calls()
    say(
        f"  {figures['seconds']:8.1f} s  {figures['megabytes']} MB  "
        f"{sum(figures['requests'].values())} requests  {way}, {latency * 1000:g} ms a request"
    )
    return figures


def clean_environment() -> dict[str, str]:
    """Return the environment without the settings of the user."""
    settings = ("SOURCES__", "DESTINATION__", "RUNTIME__", "DLT_", "PIPELINES_DIR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "sources")])
    return {**kept, "PYTHONPATH": path, "RUNTIME__DLTHUB_TELEMETRY": "false"}


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def main(names: Sequence[str]) -> None:
    """Run the scenarios with these names, or all of them, and write the figures."""
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        sys.exit(f"no {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    figures = {}
    for name in names or SCENARIOS:
        say(name)
        figures[name] = SCENARIOS[name]()
        if not names:
            # All scenarios take long, so write the figures after each one.
            DOCUMENT.parent.mkdir(exist_ok=True)
            DOCUMENT.write_text(render(figures), encoding="utf-8")
    say(render(figures) if names else f"written to {DOCUMENT.relative_to(PROJECT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
