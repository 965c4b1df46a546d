"""The services, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from textlift.declare import Endpoint
from textlift.tasks import TASKS

if TYPE_CHECKING:
    # To import it takes a second.
    from dlt.extract import DltSource

SERVICES = tuple(TASKS)


@dataclass(frozen=True)
class Job:
    """One pipeline.

    Attributes:
        name: Name of the pipeline and of its dataset.
        title: Name of the service.
        source: The dlt source; takes ``since``, ``until``, ``package_rows``, ``isolate_failures``.
        sandbox_source: Makes the source for a sandbox, from its URL and the same settings.
        describe_account: Makes a source, asks it what account it reads, and says so in lines for a
            person.
        endpoints: What the source reads.
        example: A query on its tables in DuckDB, for who tries it out.
    """

    name: str
    title: str
    source: Callable[..., DltSource]
    sandbox_source: Callable[..., DltSource]
    describe_account: Callable[[Callable[..., DltSource]], list[str]]
    endpoints: Sequence[Endpoint]
    example: str


def job_of(service: str) -> Job:
    """The pipeline of a service. Imports no other service."""
    job: Job = import_module(f"textlift.{service}.job").JOB
    return job
