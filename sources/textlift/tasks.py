"""The tasks that a scheduler runs: the resources of each service, in groups that run in parallel.

Schedulers import their definitions every few seconds, so this module imports only declarations.
"""

from __future__ import annotations

from collections.abc import Mapping

from textlift.registry import SERVICES, endpoints_of

#: Name of the task of the complete lists.
SNAPSHOTS = "snapshots"
#: Name of the task of what the service posts.
WEBHOOKS = "webhooks"
#: The tasks whose resources are read as they are now, without a range of time.
WITHOUT_RANGE = (SNAPSHOTS, WEBHOOKS)


def tasks_of(service: str) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks of a service, each with its resources.

    Each resource with windows has its own task, so it can be retried, cleared and backfilled
    alone. Resources without windows are short lists and share one task, and so do webhooks.
    """
    endpoints = endpoints_of(service)
    tasks = {each.name: (each.name,) for each in endpoints if each.incremental}
    lists = tuple(each.name for each in endpoints if not each.merges)
    posted = tuple(each.name for each in endpoints if each.webhook)
    shared = {SNAPSHOTS: lists, WEBHOOKS: posted}
    return {**tasks, **{name: resources for name, resources in shared.items() if resources}}


#: Service → task → its resources.
TASKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {name: tasks_of(name) for name in SERVICES}
