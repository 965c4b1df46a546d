"""The tasks of schedulers: what has an interval apart from what has none, and quick to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from textlift.declare import Endpoint
from textlift.registry import SERVICES, endpoints_of
from textlift.tasks import TASKS, WITHOUT_RANGE

EVERY = [(service, endpoint) for service in SERVICES for endpoint in endpoints_of(service)]


@pytest.mark.parametrize("service", SERVICES)
def test_every_resource_is_in_one_task(service: str) -> None:
    resources = [name for names in TASKS[service].values() for name in names]
    assert sorted(resources) == sorted(endpoint.name for endpoint in endpoints_of(service))


@pytest.mark.parametrize(
    ("service", "endpoint"), EVERY, ids=[f"{service}, {each.name}" for service, each in EVERY]
)
def test_what_is_read_by_time_has_a_task_of_its_own(service: str, endpoint: Endpoint) -> None:
    tasks = TASKS[service].items()
    [(task, resources)] = [(task, names) for task, names in tasks if endpoint.name in names]
    assert (task in WITHOUT_RANGE) == (endpoint.incremental is None)
    assert task in WITHOUT_RANGE or resources == (endpoint.name,) == (task,)


def test_to_list_the_tasks_imports_neither_dlt_nor_arrow() -> None:
    code = "import sys, textlift.tasks; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {"textlift"} <= set(done.stdout.split())
    assert not {"dlt", "pyarrow", "duckdb", "requests", "lxml"} & set(done.stdout.split())
