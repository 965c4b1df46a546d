"""List and delete the cursors that a dataset holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dlt import Pipeline
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.pipeline import TPipelineState
from dlt.pipeline.state_sync import load_pipeline_state_from_destination

from textlift.extract.state import forget_partition, parts_of_accounts


@dataclass(frozen=True)
class Cursor:
    """How far a partition of a resource has been read.

    Attributes:
        resource: The resource.
        partition: Id of the partition; empty for the account.
        time: Time of the newest row, ISO 8601.
        read_completely_at: When all rows were last read, ISO 8601; ``None`` without complete reads.
        pipeline: The pipeline that continues from here: the command's or a scheduled task's.
    """

    resource: str
    partition: str
    time: str
    read_completely_at: str | None
    pipeline: str


def stored_cursors(client: Any, pipeline: str, source: str) -> list[Cursor]:
    """Return the cursors of a pipeline in the destination, sorted by resource and partition.

    Args:
        client: An open client of the destination.
        pipeline: Name of the pipeline; it need not have run on this machine.
        source: Name of the source.
    """
    try:
        state = load_pipeline_state_from_destination(pipeline, client)
    except DestinationUndefinedEntity:
        return []
    found = [
        Cursor(
            name,
            partition,
            time,
            part.get("refreshed", {}).get(partition, part.get("whole_at")),
            pipeline,
        )
        for name, resource in resource_states(state or {}, source).items()
        for part in parts_of_accounts(resource)
        for partition, time in part["cursors"].items()
    ]
    return sorted(found, key=lambda cursor: (cursor.resource, cursor.partition))


def forget_cursors(
    pipeline: Pipeline, source: str, resources: Iterable[str], partition: str | None = None
) -> None:
    """Delete cursors in the destination, so that the next load reads from the start date.

    Args:
        pipeline: The pipeline of the cursors.
        source: Name of the source.
        resources: Resources that have cursors.
        partition: The partition whose cursors are deleted; ``None`` for all.
    """
    pipeline.sync_destination()
    with pipeline.managed_state(extract_state=True) as state:
        states = resource_states(state, source)
        for name in resources:
            if partition is None:
                del states[name]
            else:
                forget_partition(states[name], partition)
    pipeline.normalize()
    pipeline.load()


def resource_states(state: TPipelineState | Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return resource → its state, from the state of a pipeline."""
    found: dict[str, Any] = state.get("sources", {}).get(source, {}).get("resources", {})
    return found
