"""The Mobile Commons (Upland) API, as the vendor documents it.

`service` is the door: credentials, clock, and the changes tests make. Behind it, data flows from
`curve` (when things happen) and `world` (what happens, to whom) to `rows` (what it looks like),
`store` (with what tests have changed), `endpoints` (which rows a call gets) and `shapes` and `xml`
(how they are printed). `answers` wraps that up, and `damage` spoils it when a fault is rehearsed.
"""

from __future__ import annotations

from textlift.sandbox.mcommons.service import MobileCommons

__all__ = ["MobileCommons"]
