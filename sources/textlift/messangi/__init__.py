"""Messangi (Ogangi): dlt resources for messages, broadcasts and short codes.

import dlt
from textlift.messangi import messangi_source

pipeline = dlt.pipeline("messangi", destination="duckdb", dataset_name="messangi")
pipeline.run(messangi_source(base_url="https://flow.messangi.me/mmc", instance_id="7"))
"""

from typing import TYPE_CHECKING

from textlift.lazy import import_from

if TYPE_CHECKING:
    from textlift.messangi.source import MessangiCredentials, messangi_source

__all__ = ["MessangiCredentials", "messangi_source"]

__getattr__ = import_from(f"{__name__}.source", __all__)
