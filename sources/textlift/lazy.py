"""Names that are imported when they are used."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any


def import_from(module: str, names: Collection[str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that imports ``names`` from ``module`` on first use.

    A service is a package whose endpoints a scheduler reads every few seconds. Its source imports dlt,
    which takes a second.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module.rpartition('.')[0]} has no attribute {name!r}")
        return getattr(import_module(module), name)

    return get
