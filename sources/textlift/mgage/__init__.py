"""mGage (Communicate Pro): a dlt resource for the message export.

import dlt
from textlift.mgage import mgage_source

pipeline = dlt.pipeline("mgage", destination="duckdb", dataset_name="mgage")
pipeline.run(mgage_source(programs=[121811, 121812]))
"""

from typing import TYPE_CHECKING

from textlift.lazy import import_from

if TYPE_CHECKING:
    from textlift.mgage.source import MGageCredentials, mgage_source

__all__ = ["MGageCredentials", "mgage_source"]

__getattr__ = import_from(f"{__name__}.source", __all__)
