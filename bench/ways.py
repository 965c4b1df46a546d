"""The measured ways to load: ``python -m bench.ways WAY KIND URL`` runs one and prints JSON.

Each way uses the current directory, which must be empty. Each way runs in its own process, so that
its memory can be measured.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import requests

from bench.server import COLUMNS, COMPANY, EMPTY_NOW, EMPTY_START, NOW, PROJECT, START, TOKEN

FILE = "bench.duckdb"
DATASET = "mcommons"
PATHS = {"profiles": "profiles", "outgoing_messages": "sent_messages"}
#: Request parameters of the idiomatic connector and of Parsons, without the page.
QUESTIONS = {
    "idiomatic": {
        "profiles": {"limit": "1000"},
        "outgoing_messages": {"limit": "1000", "include_profile": "false"},
    },
    "parsons": {
        "profiles": {
            "limit": "1000",
            "company": COMPANY,
            "include_custom_columns": "true",
            "include_subscriptions": "true",
        },
    },
}
MOST_SUBSCRIPTIONS = 3
#: A policy that hashes nearly all personal columns.
HASHED = {
    **dict.fromkeys(("phone", "email", "name", "address", "network_address", "free_text"), "hash"),
    "location": "truncate",
}
PRIVACY_KEY = "an-invented-key-of-more-than-32-characters"

Figures = dict[str, Any]
_PAGE_COUNT = re.compile(rb'page_count="(\d+)"')


# --- measured ways -------------------------------------------------------------------------------


def textlift(kind: str, url: str) -> Figures:
    """Run the whole pipeline, as the command line does."""
    return _textlift([kind], url, START, NOW)


def hashed(kind: str, url: str) -> Figures:
    """Run the whole pipeline with a policy that hashes nearly all personal columns."""
    os.environ["SOURCES__PRIVACY_KEY"] = PRIVACY_KEY
    return _textlift([kind], url, START, NOW, privacy=HASHED)


def textlift_long(kind: str, url: str) -> Figures:
    """Run the whole pipeline over 15 years, for all resources if ``kind`` is ``all``."""
    return _textlift(None if kind == "all" else [kind], url, EMPTY_START, EMPTY_NOW)


def textlift_80(kind: str, url: str) -> Figures:
    """Run the whole pipeline with 80 requests at a time."""
    return _textlift([kind], url, START, NOW, concurrency=80)


def parts(kind: str, url: str) -> Figures:
    """Run ``textlift`` with timers around its parts."""
    from bench.parts import watch_textlift

    found = watch_textlift()
    figures = textlift(kind, url)
    return {**figures, "parts": {"busy": found.busy, "idle": found.idle}}


def _textlift(
    kinds: list[str] | None,
    url: str,
    start: str,
    until: str,
    concurrency: int = 16,
    privacy: dict[str, str] | None = None,
) -> Figures:
    # Use the settings of the project, as on the command line. The other ways use dlt's defaults.
    os.environ["DLT_PROJECT_DIR"] = str(PROJECT)
    from textlift.cli import imported

    imported("textlift.cli.command")
    import dlt
    from dlt.common.runtime.collector import NullCollector

    from textlift.destinations import destination
    from textlift.load.loading import PACKAGE_ROWS, load
    from textlift.mcommons import MobileCommonsCredentials, mcommons_source

    steps: Counter[str] = Counter()

    class Steps(NullCollector):
        """A collector that adds up the time of each step over all load packages."""

        def on_end_trace_step(
            self, trace: Any, step: Any, pipeline: Any, step_info: Any, send_state: bool
        ) -> None:
            steps[step.step] += (step.finished_at - step.started_at).total_seconds()

    started = time.perf_counter()
    pipeline = dlt.pipeline(
        DATASET,
        destination=destination("duckdb", credentials=str(Path(FILE).resolve())),
        dataset_name=DATASET,
        pipelines_dir=str(Path("state").resolve()),
        progress=Steps(),
    )
    source = mcommons_source(
        base_url=url,
        credentials=MobileCommonsCredentials(token=TOKEN),
        start_date=start,
        until=until,
        package_rows=PACKAGE_ROWS,
        isolate_failures=True,
        concurrency=concurrency,
        privacy=privacy,
    )
    summary = load(pipeline, source, kinds)
    elapsed = time.perf_counter() - started
    if summary.failed or summary.missing or summary.rejected:
        raise SystemExit(f"not everything was loaded: {summary}")
    del steps["run"]
    return {"seconds": elapsed, "steps": dict(steps), "packages": summary.packages}


def idiomatic(kind: str, url: str) -> Figures:
    """Run a dlt connector that uses dictionaries."""
    import dlt

    from bench.idiomatic import RESOURCES

    started = time.perf_counter()
    pipeline = dlt.pipeline(
        "idiomatic",
        destination=dlt.destinations.duckdb(str(Path(FILE).resolve())),
        dataset_name=DATASET,
        pipelines_dir=str(Path("state").resolve()),
    )
    pipeline.run(RESOURCES[kind](_session(), url))
    return {"seconds": time.perf_counter() - started}


def parsons(kind: str, url: str) -> Figures:
    """Run Parsons' ``get_profiles``, and load its table through CSV as Parsons' databases do."""
    import duckdb
    from parsons.mobilecommons import mobilecommons

    assert kind == "profiles", "Parsons has no method for messages"
    mobilecommons.MC_URI = url
    started = time.perf_counter()
    client = mobilecommons.MobileCommons(api_key=TOKEN, company_id=COMPANY)
    table = client.get_profiles(include_custom_columns=True, include_subscriptions=True)
    csv = table.to_csv("profiles.csv")
    with duckdb.connect(FILE) as connection:
        connection.execute(f"CREATE SCHEMA {DATASET}")
        connection.execute(
            f"CREATE TABLE {DATASET}.profiles AS "
            "SELECT * FROM read_csv($file, header = true, all_varchar = true)",
            {"file": csv},
        )
    return {"seconds": time.perf_counter() - started}


def lxml(kind: str, url: str) -> Figures:
    """Build only the tree of each page, from bytes in memory. This is the lower bound."""
    from lxml import etree

    elapsed, rows = 0.0, 0
    for body in pages(kind, url):
        rows += body.count(_end(kind))
        started = time.perf_counter()
        tree = etree.fromstring(body)
        del tree
        elapsed += time.perf_counter() - started
    return {"seconds": elapsed, "rows": {kind: rows}}


# --- not measured --------------------------------------------------------------------------------


def survey(kind: str, url: str) -> Figures:
    """Request every page that the other ways request, count the rows, and check their lists."""
    rows: Counter[str] = Counter()
    for body in pages(kind, url):
        records = body.split(_end(kind))[:-1]
        rows[kind] += len(records)
        if kind != "profiles":
            continue
        for name, item in (
            ("subscriptions", b"<subscription "),
            ("custom_columns", b"<custom_column "),
            ("clicks", b"<click "),
            ("integrations", b"<integration "),
        ):
            counts = [record.count(item) for record in records]
            rows[f"profiles__{name}"] += sum(counts)
            if name == "subscriptions" and max(counts, default=0) > MOST_SUBSCRIPTIONS:
                raise SystemExit(f"a profile has {max(counts)} subscriptions")
            if name == "custom_columns" and set(counts) - {COLUMNS}:
                raise SystemExit(f"profiles have {set(counts)} custom columns")
    if kind in QUESTIONS["parsons"]:
        for _ in pages(kind, url, "parsons"):
            pass
    return {"seconds": 0, "rows": rows}


def pages(kind: str, url: str, asker: str = "idiomatic") -> Iterator[bytes]:
    """Yield the pages that another way reads, up to the last page with rows."""
    session = _session()
    for number in count(1):
        page = {} if asker == "parsons" and number == 1 else {"page": str(number)}
        response = session.get(url + PATHS[kind], params={**QUESTIONS[asker][kind], **page})
        response.raise_for_status()
        body = response.content
        if b'num="0"' in body[:200]:
            return
        yield body
        counted = _PAGE_COUNT.search(body[:200])
        if counted and number >= int(counted[1]):
            return


def _session() -> requests.Session:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    return session


def _end(kind: str) -> bytes:
    return b"</profile>\n" if kind == "profiles" else b"</message>"


def count_rows(kind: str) -> dict[str, int]:
    """Return the number of rows of each table of a kind in the file."""
    import duckdb

    with duckdb.connect(FILE, read_only=True) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = $schema",
            {"schema": DATASET},
        ).fetchall()
        rows = {}
        for (table,) in tables:
            if table == kind or table.startswith(f"{kind}__"):
                found = connection.execute(f'SELECT count(*) FROM {DATASET}."{table}"').fetchone()
                rows[table] = found[0] if found else 0
    return rows


WAYS: dict[str, Callable[[str, str], Figures]] = {
    way.__name__: way
    for way in (
        *(textlift, textlift_80, textlift_long, hashed),
        *(parts, idiomatic, parsons, lxml, survey),
    )
}


def main(way: str, kind: str, url: str) -> None:
    """Run a way and print its figures."""
    figures = WAYS[way](kind, url)
    # Read this before counting the rows, because counting uses memory too.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["megabytes"] = peak * (1 if sys.platform == "darwin" else 1024) // 10**6
    figures.setdefault("rows", {})
    if Path(FILE).exists():
        figures["rows"] = count_rows(kind)
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
