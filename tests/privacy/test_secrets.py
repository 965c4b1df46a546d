"""Hazard 12: no credential and no phone number in a log, an error, a state or a name.

What the whole suite logs is searched in the end as well, by the fixture ``logged`` of conftest.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Open, Warehouse, leaks, slow_but
from tests.support.commands import PATIENCE, environment
from tests.support.forks import forked
from textlift.errors import quote
from textlift.sandbox import rehearse

pytestmark = pytest.mark.real_clock
COMPANY = "COSANDBOX00000000000000000000000001"
#: What somebody texted, and is asked for.
INPUT = "12025550177"
#: The command line with all that any library logs, on standard error.
LOUD = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from textlift.cli.command import main
sys.exit(main(sys.argv[1:]))
"""
FAULTS = {
    "well": [],
    "transient": ["transient@20%", "error=27@7-9"],
    "mgage transient": ["transient@20%", "general-errors@3-4"],
    "refused": ["401"],
    "down": ["500"],
    "garbled": ["broken", "bad-time"],
    "redirected": ["redirect"],
}
CASES = [("mcommons", case) for case in FAULTS if case != "mgage transient"]
CASES += [("mgage", case) for case in FAULTS if case != "transient"]


def told(warehouse: Warehouse, *options: str, **changes: str) -> str:
    """All that a run prints and logs."""
    settings = environment(warehouse, RUNTIME__LOG_LEVEL="DEBUG", **changes)
    process = forked(["-c", LOUD, warehouse.name, *options], PROJECT, settings, PATIENCE)
    return process.stdout + process.stderr


def left_behind(folder: Path) -> str:
    """Names and contents of the files a run leaves on the disk, but for what waits to be loaded."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix == ".parquet" and "loaded" in path.parts]
    kept = [path.read_bytes().decode("latin-1") for path in files if path.suffix != ".parquet"]
    return "\n".join([*map(str, files), *kept])


@pytest.mark.parametrize(("service", "case"), slow_but(slice(None, None, 3), CASES))
def test_a_run_tells_no_secret_and_nothing_of_people(opened: Open, service: str, case: str) -> None:
    warehouse = opened(service, **({"messages": 900} if service == "mgage" else {}))
    if FAULTS[case]:
        rehearse(warehouse.box, *FAULTS[case])
    changes = {
        f"SOURCES__{service.upper()}__PAGE_SIZE": "20",
        "SOURCES__MCOMMONS__COMPANY": COMPANY,
        "SOURCES__MCOMMONS__MDATA_ENTRIES": json.dumps([{"mdata_id": 801, "input": INPUT}]),
        "RUNTIME__REQUEST_MAX_ATTEMPTS": "3",
        "RUNTIME__REQUEST_MAX_RETRY_DELAY": "0.1",
    }
    text = told(warehouse, **changes)
    # It is not silence that keeps the secrets.
    assert "urllib3.connectionpool" in text
    assert "HTTP/1.1" in text
    assert leaks(text, COMPANY) == []
    # dlt's trace holds the configuration, apart from what is secret in it.
    assert set(leaks(left_behind(warehouse.state))) <= {INPUT}


def test_what_a_service_says_is_repeated_without_numbers_of_people() -> None:
    said = "Invalid phone 1 (202) 555-0123 or +12025550177 in\ncampaign 162617"
    assert quote(said) == "Invalid phone … or … in campaign 162617"
    assert len(quote("x" * 9999)) == 500


def test_what_could_not_be_read_is_not_in_the_message_that_says_so(
    account: Open,
) -> None:
    warehouse = account()
    rehearse(warehouse.box, "cut@profiles", "html@messages", "404@calls")
    summary = warehouse.load("profiles", "incoming_messages", "calls", page_size=5)
    assert len(summary.failed) == 3
    assert leaks("\n".join(summary.failed.values())) == []
