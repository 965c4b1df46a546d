"""The fixture with the environment of a scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.schedulers import Environment, Open


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Open]:
    """Opens a scheduler's environment."""
    opened: list[Environment] = []

    def open_environment(name: str, settings: Mapping[str, str]) -> Environment:
        opened.append(Environment(name, tmp_path, settings))
        return opened[-1]

    yield open_environment
    for one in opened:
        one.close()
