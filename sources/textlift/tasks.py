"""What a scheduler runs: the resources of each service, in tasks that can run at the same time.

Nothing is imported here, because schedulers read their definitions again every few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

#: The task that has no interval: what a service lists now.
SNAPSHOTS = "snapshots"

#: Service → task → its resources. What is read by time has a task of its own, so that it can be
#: tried again, cleared and backfilled alone; lists are short and share one.
TASKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "mcommons": {
        "profiles": ("profiles",),
        "incoming_messages": ("incoming_messages",),
        "outgoing_messages": ("outgoing_messages",),
        "broadcasts": ("broadcasts",),
        "calls": ("calls",),
        "clicks": ("clicks",),
        "mdata_queries": ("mdata_queries",),
        "campaign_subscribers": ("campaign_subscribers",),
        SNAPSHOTS: (
            "campaigns",
            "group_members",
            "groups",
            "keywords",
            "mconnects",
            "tinyurls",
            "mdatas",
            "tags",
            "attachments",
            "call_counts",
            "donation_summaries",
            "mdata_entries",
        ),
    },
    "mgage": {"messages": ("messages",)},
}
