"""Mobile Commons (Upland): profiles, messages, broadcasts, calls, clicks, mData as dlt resources.

import dlt
from textlift.mcommons import mcommons_source

pipeline = dlt.pipeline("mcommons", destination="duckdb", dataset_name="mcommons")
pipeline.run(mcommons_source().with_resources("profiles", "campaigns"))
"""

from typing import TYPE_CHECKING

from textlift.lazy import import_from

if TYPE_CHECKING:
    from textlift.mcommons.source import MobileCommonsCredentials, mcommons_source

__all__ = ["MobileCommonsCredentials", "mcommons_source"]

__getattr__ = import_from(f"{__name__}.source", __all__)
