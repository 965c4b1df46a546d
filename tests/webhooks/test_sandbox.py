"""``textlift load SERVICE --sandbox`` with a receiver of what the sandbox posts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import psutil
import pytest

from tests.conftest import PROJECT
from tests.support.commands import LOADED, PATIENCE, names_in, rows_in, wait_until
from tests.support.forks import Fork
from tests.support.webhooks import put, segments

pytestmark = pytest.mark.real_clock

LOAD = "import sys; from textlift.cli import main; sys.exit(main(sys.argv[1:]))"
WITHOUT_EXTRA = f"import sys; sys.modules['uvicorn'] = None; {LOAD}"


@contextmanager
def loading(folder: Path, code: str = LOAD, **changes: str) -> Iterator[subprocess.Popen[str]]:
    """A load from the sandbox into a folder; whatever happens, its processes end with the block."""
    arguments = ["load", "mobiniti", "--sandbox", "--resources", "unsubscribes,delivery_reports"]
    settings = {"PIPELINES_DIR": str(folder / "state"), "PYTHONPATH": str(PROJECT / "sources")}
    process = Fork(
        ["-c", code, *arguments],
        cwd=folder,
        env={**os.environ, **settings, **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = psutil.Process(process.pid)
    try:
        yield process
    finally:
        for each in (*started.children(), started) if started.is_running() else ():
            each.kill()
        process.communicate()


def loaded(folder: Path, code: str = LOAD, **changes: str) -> str:
    """Load to the end, and return what was printed."""
    with loading(folder, code, **changes) as process:
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (LOADED, "")
    return out


def count(folder: Path, table: str) -> int:
    [(number,)] = rows_in(
        folder / "textlift_sandbox.duckdb", f"SELECT count(*) FROM mobiniti.{table}"
    )
    return int(str(number))


def test_what_the_sandbox_posts_is_loaded_and_real_events_stay(tmp_path: Path) -> None:
    real = tmp_path / "real"
    now = datetime.now(timezone.utc)
    put(real, "unsubscribes", {"id": "a-real-contact"}, received_at=now)
    configured = {
        "SOURCES__MOBINITI__WEBHOOKS__STORAGE": str(real),
        "SOURCES__MOBINITI__WEBHOOKS__SECRET": "a-real-secret-of-43-characters-012345678901",
    }
    kept = segments(real)
    out = loaded(tmp_path, **configured)
    assert "webhooks posted to the receiver" in out
    reports, unsubscribes = count(tmp_path, "delivery_reports"), count(tmp_path, "unsubscribes")
    assert reports > 0
    assert unsubscribes > 0
    assert count(tmp_path, "unsubscribes WHERE contact_id = 'a-real-contact'") == 0
    assert segments(real) == kept
    assert "mobiniti_sandbox_webhooks" not in names_in(tmp_path / "state")
    # What is posted again is there once; a little more may have happened.
    loaded(tmp_path, **configured)
    assert count(tmp_path, "unsubscribes") - unsubscribes < unsubscribes
    assert count(tmp_path, "delivery_reports") - reports < reports


def test_without_the_extra_it_loads_the_rest_and_says_what_to_install(tmp_path: Path) -> None:
    out = loaded(tmp_path, WITHOUT_EXTRA)
    [note] = [line for line in out.splitlines() if "textlift[webhooks]" in line]
    assert "pip install" in note
    assert count(tmp_path, "load_runs WHERE outcome = 'loaded'") == 2


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_the_sandbox_and_the_receiver_end_with_the_command(
    tmp_path: Path, signum: signal.Signals
) -> None:
    storage = tmp_path / "state" / "mobiniti_sandbox_webhooks"
    with loading(tmp_path) as process:
        wait_until(lambda: storage.is_dir() and segments(storage), process)
        children = psutil.Process(process.pid).children()
        assert len(children) == 2
        process.send_signal(signum)
        process.wait(PATIENCE)
        _, left = psutil.wait_procs(children, PATIENCE)
        for each in left:
            each.kill()
        assert left == []
    if signum == signal.SIGTERM:
        assert not storage.exists()
        return
    # What a killed run leaves is the next one's.
    assert segments(storage)
    loaded(tmp_path)
    assert not storage.exists()
