"""The tasks of schedulers: every resource once, and what has an interval apart from what has none."""

from __future__ import annotations

import pytest

from textlift.declare import Endpoint
from textlift.mcommons.endpoints import ENDPOINTS as MCOMMONS
from textlift.mgage.endpoints import ENDPOINTS as MGAGE
from textlift.tasks import SNAPSHOTS, TASKS

SERVICES = {"mcommons": MCOMMONS, "mgage": MGAGE}


def test_every_service_has_tasks() -> None:
    assert set(TASKS) == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_every_resource_is_in_one_task(service: str) -> None:
    resources = [name for names in TASKS[service].values() for name in names]
    assert sorted(resources) == sorted(endpoint.name for endpoint in SERVICES[service])


@pytest.mark.parametrize("endpoint", [*MCOMMONS, *MGAGE], ids=lambda endpoint: endpoint.name)
def test_what_is_read_by_time_has_a_task_of_its_own(endpoint: Endpoint) -> None:
    [(task, resources)] = [
        (task, names)
        for tasks in TASKS.values()
        for task, names in tasks.items()
        if endpoint.name in names
    ]
    assert (task == SNAPSHOTS) == (endpoint.window is None)
    assert task == SNAPSHOTS or resources == (endpoint.name,) == (task,)
