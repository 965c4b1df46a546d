"""Loads SMS platforms into a warehouse with dlt.

Each service is a package with a dlt source: ``from textlift.mcommons import mcommons_source``.

What the services share goes one way, and each module imports only earlier stages: ``declare``
(endpoints as data), ``http`` (requests to bytes), ``arrow`` (text to typed tables), ``extract``
(windows, pages, cursors), ``destinations``, ``load`` (dlt resources and load packages), ``cli``.
"""

__version__ = "0.1.0"
