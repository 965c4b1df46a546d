"""The tasks that a scheduler runs: the resources of each service, in groups that run in parallel.

Schedulers import their definitions every few seconds, so this module imports only declarations.
"""

from __future__ import annotations

from collections.abc import Mapping

from textlift.registry import SERVICES, endpoints_of

#: Name of the task of the resources without windows.
SNAPSHOTS = "snapshots"


def tasks_of(service: str) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks of a service, each with its resources.

    Each resource with windows has its own task, so it can be retried, cleared and backfilled
    alone. Resources without windows are short lists and share one task.
    """
    endpoints = endpoints_of(service)
    tasks = {each.name: (each.name,) for each in endpoints if each.incremental}
    lists = tuple(each.name for each in endpoints if not each.incremental)
    return {**tasks, SNAPSHOTS: lists} if lists else tasks


#: Service → task → its resources.
TASKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {name: tasks_of(name) for name in SERVICES}
