"""Helpers for several test modules. The name of each module says what it offers."""

from __future__ import annotations

from pathlib import Path

import pytest

# pytest explains failed assertions in test modules. Other modules have to be registered for it.
pytest.register_assert_rewrite(
    *(f"{__name__}.{path.stem}" for path in Path(__file__).parent.glob("[!_]*.py"))
)
