"""The services, by name: the only list of them.

A service is a package here with ``endpoints``, a ``job`` and a ``source``, and a sandbox of the same
name. Nothing of a service is imported before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from textlift.declare import Endpoint

if TYPE_CHECKING:
    # To import it takes a second.
    from dlt.extract import DltSource

SERVICES = ("mcommons", "mgage")


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


def endpoints_of(service: str) -> Sequence[Endpoint]:
    """Return the endpoints of a service. Imports nothing but the declarations."""
    endpoints: Sequence[Endpoint] = import_module(f"textlift.{service}.endpoints").ENDPOINTS
    return endpoints


def job_of(service: str) -> Job:
    """Return the pipeline of a service."""
    job: Job = import_module(f"textlift.{service}.job").JOB
    return job
