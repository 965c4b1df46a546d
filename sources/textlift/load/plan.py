"""What a load would read, without loading anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory

import dlt
from dlt import Pipeline
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.extract import DltSource

from textlift.destinations import checked
from textlift.extract.state import full_refresh, planning
from textlift.extract.sync import StreamPlan


def plan_load(
    pipeline: Pipeline,
    source: DltSource,
    resources: Sequence[str] | None = None,
    is_full_refresh: bool = False,
) -> list[StreamPlan]:
    """What :func:`textlift.load.loading.load` with the same arguments would read.

    Only the lists of partitions are requested from the service. The cursors are those that the
    destination holds; neither it nor the local state is changed.

    Returns:
        A plan for each resource, in the order of the source.

    Raises:
        ConfigurationError: A setting is wrong, or the service refuses the credentials.
        DestinationFailed: The destination cannot be reached.
        PipelineStepFailed, ResourceExtractionError: A list of partitions could not be read.
    """
    for resource in source.resources.values():
        resource.selected = resources is None or resource.name in resources
    refreshing = full_refresh() if is_full_refresh else nullcontext()
    # An open pipeline lends its state to a source that is read.
    with twin(pipeline, pipeline.pipeline_name) as read_only, planning(), refreshing:
        with checked(read_only):
            read_only.sync_destination()
        plans = {plan.resource: plan for plan in source}
    return [plans[name] for name in source.resources if name in plans]


@contextmanager
def twin(pipeline: Pipeline, name: str) -> Iterator[Pipeline]:
    """A pipeline for the same dataset, with no files of its own after the block.

    Args:
        pipeline: The pipeline that has the dataset.
        name: Name of the twin, which decides on whose cursors it has.
    """
    with TemporaryDirectory() as folder:
        made = dlt.pipeline(
            name,
            pipelines_dir=folder,
            destination=pipeline.destination,
            dataset_name=pipeline.dataset_name,
            progress=NULL_COLLECTOR,
        )
        try:
            yield made
        finally:
            made.deactivate()
