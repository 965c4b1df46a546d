"""The registry of the services, by name. It is the only list of services in the project.

A service is a package in ``textlift`` with the modules ``endpoints``, ``job`` and ``source``, and a
sandbox module of the same name. The modules of a service are imported only when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from textlift.declare import Endpoint

if TYPE_CHECKING:
    # Importing dlt takes a second.
    from dlt.extract import DltSource

    from textlift.sandbox.service import SandboxSpec

SERVICES = ("mcommons", "mgage", "mobiniti", "messangi", "textme")


@dataclass(frozen=True)
class Job:
    """The pipeline of a service.

    Attributes:
        name: Name of the pipeline and of its dataset.
        title: Display name of the service.
        source: The dlt source. It accepts ``since``, ``until``, ``package_rows`` and
            ``isolate_failures``.
        sandbox_source: Return the source for a sandbox, from its URL and the same settings.
        describe_account: Create a source, read the account, and return lines that describe it.
        endpoints: The endpoints that the source reads.
        example: An example query on the tables, for DuckDB.
    """

    name: str
    title: str
    source: Callable[..., DltSource]
    sandbox_source: Callable[..., DltSource]
    describe_account: Callable[[Callable[..., DltSource]], list[str]]
    endpoints: Sequence[Endpoint]
    example: str


def endpoints_of(service: str) -> Sequence[Endpoint]:
    """Return the endpoints of a service. Import only their declarations."""
    endpoints: Sequence[Endpoint] = import_module(f"textlift.{service}.endpoints").ENDPOINTS
    return endpoints


def sandbox_of(service: str) -> SandboxSpec:
    """Return the sandbox of a service."""
    spec: SandboxSpec = import_module(f"textlift.sandbox.{service}").SANDBOX
    return spec


def job_of(service: str) -> Job:
    """Return the pipeline of a service."""
    job: Job = import_module(f"textlift.{service}.job").JOB
    return job
