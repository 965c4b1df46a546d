"""Mobiniti: dlt resources for contacts, groups, messages and the rest of an account.

import dlt
from textlift.mobiniti import mobiniti_source

pipeline = dlt.pipeline("mobiniti", destination="duckdb", dataset_name="mobiniti")
pipeline.run(mobiniti_source())
"""

from typing import TYPE_CHECKING

from textlift.lazy import import_from

if TYPE_CHECKING:
    from textlift.mobiniti.source import MobinitiCredentials, mobiniti_source

__all__ = ["MobinitiCredentials", "mobiniti_source"]

__getattr__ = import_from(f"{__name__}.source", __all__)
