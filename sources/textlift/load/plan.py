"""Plan what a load would read, without loading anything."""

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
    """Return what :func:`textlift.load.loading.load` would read with the same arguments.

    Only the lists of partitions are requested from the service. The cursors come from the
    destination. Neither the destination nor the local state is changed.

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
    # A source uses the state of the active pipeline, which is the twin here.
    with twin(pipeline, pipeline.pipeline_name) as read_only, planning(), refreshing:
        with checked(read_only):
            read_only.sync_destination()
        plans = {plan.resource: plan for plan in source}
    return [plans[name] for name in source.resources if name in plans]


@contextmanager
def twin(pipeline: Pipeline, name: str) -> Iterator[Pipeline]:
    """Yield a pipeline for the same dataset; its local files are deleted after the block.

    Args:
        pipeline: The pipeline of the dataset.
        name: Name of the twin. It decides which pipeline's cursors the twin has.
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
