"""Load SMS platforms into a warehouse with dlt.

Each service is a package with a dlt source: ``from textlift.mcommons import mcommons_source``.

Data flows through the shared modules in one direction. Each module imports only earlier stages:
``declare`` (endpoints as data), ``http`` (requests to bytes), ``codec`` (bytes to text columns),
``arrow`` (text to typed tables), ``extract`` (windows, pages, cursors), ``destinations``, ``load``
(dlt resources and load packages), ``cli``.
"""

__version__ = "0.1.0"
