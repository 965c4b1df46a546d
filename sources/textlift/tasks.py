"""What a scheduler runs: the resources of each service, in tasks that can run at the same time.

Schedulers import their definitions every few seconds, so this imports declarations only.
"""

from __future__ import annotations

from collections.abc import Mapping

from textlift.registry import SERVICES, endpoints_of

#: The task of the resources that have no interval.
SNAPSHOTS = "snapshots"


def tasks_of(service: str) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks of a service, each with its resources.

    A resource that is read by time has a task of its own, so that it can be retried, cleared and
    backfilled alone. Lists are short and share one.
    """
    endpoints = endpoints_of(service)
    tasks = {each.name: (each.name,) for each in endpoints if each.incremental}
    lists = tuple(each.name for each in endpoints if not each.incremental)
    return {**tasks, SNAPSHOTS: lists} if lists else tasks


#: Service → task → its resources.
TASKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {name: tasks_of(name) for name in SERVICES}
