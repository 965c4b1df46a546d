"""Speed and memory, as ratios of two ways measured side by side: ``make bench``.

Each way runs in a process of its own, against the same sandbox, so that its memory is its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dlt
import requests
import xmltodict

from sources.common.tables import Layout
from sources.mcommons import mcommons_source
from sources.mcommons.answers import decode
from sources.mcommons.endpoints import ENDPOINTS

PROJECT = Path(__file__).resolve().parents[1]
PROFILES = 5_000
USERNAME, PASSWORD = "sandbox@example.org", "sandbox-password"
LISTS = ("subscriptions", "custom_columns", "clicks", "integrations")


def pages(url: str, **params: str) -> Iterator[bytes]:
    """The pages of profiles, one request at a time."""
    session = requests.Session()
    session.auth = (USERNAME, PASSWORD)
    for number in range(1, 10**6):
        asked = {"limit": "1000", "page": str(number), **params}
        body = session.get(f"{url}profiles", params=asked).content
        if b'num="0"' in body[:200]:
            return
        yield body


def decode_to_arrow(url: str) -> int:
    """Pages to typed Arrow tables."""
    endpoint = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "profiles")
    layout = Layout.of(endpoint)
    bodies = list(pages(url))
    return timed(lambda: [decode(body, endpoint, layout) for body in bodies])


def decode_to_dicts(url: str) -> int:
    """Pages to dictionaries of text, by xmltodict."""
    bodies = list(pages(url))
    return timed(lambda: [xmltodict.parse(body, attr_prefix="") for body in bodies])


def load_with_textlift(url: str) -> int:
    """Profiles into DuckDB with this project's source."""
    source = mcommons_source(base_url=url, start_date="2024-01-01")
    return timed(lambda: pipeline().run(source.with_resources("profiles")))


def load_page_by_page(url: str) -> int:
    """Profiles into DuckDB as a script does it: a page at a time, as dictionaries."""

    @dlt.resource(name="profiles", primary_key="id", write_disposition="merge")
    def profiles() -> Iterator[Any]:
        for body in pages(url):
            rows = xmltodict.parse(body, attr_prefix="", force_list=("profile",))
            for row in rows["response"]["profiles"]["profile"]:
                for name in LISTS:
                    row[name] = list((row.get(name) or {}).values())
                yield row

    return timed(lambda: pipeline().run(profiles))


def load_in_parallel(url: str) -> int:
    """The whole account, 16 calls at a time."""
    source = mcommons_source(base_url=url, start_date="2024-01-01", concurrency=16)
    return timed(lambda: pipeline().run(source))


def load_one_by_one(url: str) -> int:
    """The whole account, one call at a time."""
    source = mcommons_source(base_url=url, start_date="2024-01-01", concurrency=1)
    return timed(lambda: pipeline().run(source))


def pipeline() -> dlt.Pipeline:
    """A pipeline into an empty DuckDB file in the current directory."""
    file = str(Path.cwd() / "bench.duckdb")
    state = str(Path.cwd() / "state")
    return dlt.pipeline(
        "bench", destination=dlt.destinations.duckdb(file), dataset_name="rows", pipelines_dir=state
    )


def timed(work: Callable[[], Any]) -> Any:
    """Milliseconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return int(1000 * (time.perf_counter() - started))


def measure(way: Callable[[str], int], url: str) -> tuple[int, int]:
    """Milliseconds and peak memory in MiB of one way, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "DLT_PROJECT_DIR": str(PROJECT),
            "SOURCES__MCOMMONS__CREDENTIALS__USERNAME": USERNAME,
            "SOURCES__MCOMMONS__CREDENTIALS__PASSWORD": PASSWORD,
        }
        command = [sys.executable, __file__, way.__name__, url]
        done = subprocess.run(
            command, cwd=folder, env=environment, check=True, capture_output=True, text=True
        )
    milliseconds, mebibytes = json.loads(done.stdout.splitlines()[-1])
    return milliseconds, mebibytes


def compare(title: str, one: Callable[[str], int], other: Callable[[str], int], url: str) -> None:
    """Print what two ways took, and their ratio."""
    print(title)
    figures = []
    for way in (one, other):
        figures.append(measure(way, url))
        print(f"  {figures[-1][0]:>7} ms {figures[-1][1]:>5} MiB  {way.__doc__}")
    (fast, _), (slow, _) = figures
    print(f"  ratio {slow / max(fast, 1):.1f}\n", flush=True)


def main() -> None:
    """Start a sandbox and measure."""
    for title, latency, ways in (
        ("Decoding", 0.0, (decode_to_arrow, decode_to_dicts)),
        ("Loading profiles", 0.0, (load_with_textlift, load_page_by_page)),
        ("An account, 100 ms a call", 0.1, (load_in_parallel, load_one_by_one)),
    ):
        command = [sys.executable, "-m", "sandbox", "--port", "0", "--exit-with-stdin"]
        command += ["--profiles", str(PROFILES), "--latency", str(latency)]
        with subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as sandbox:
            assert sandbox.stdin and sandbox.stdout
            line = sandbox.stdout.readline()
            compare(f"{title}, {PROFILES} profiles", *ways, line[line.index("http") :].strip())
            sandbox.stdin.close()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        milliseconds = globals()[sys.argv[1]](sys.argv[2])
        mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps([milliseconds, mebibytes]))
