"""A warehouse for any registered service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import Warehouse
from textlift.registry import job_of


class _Box:
    def __init__(self, url: str) -> None:
        self.url = url


def warehouse_of(service: str, box: Any, folder: Path) -> Warehouse:
    def make_source(base_url: str, **settings: Any) -> Any:
        return job_of(service).sandbox_source(base_url, **settings)

    folder.mkdir(exist_ok=True)
    return Warehouse(box, folder, service, make_source)


def load_from(service: str, url: str, folder: Path) -> None:
    warehouse_of(service, _Box(url), folder).load(package_rows=100, page_size=50, concurrency=2)
