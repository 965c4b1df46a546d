"""The mGage (Communicate Pro) message export, as the vendor documents it.

`service` is the door: credentials, parameters, pages, and the changes tests make. Behind it,
`history` is what a program sent and received, and `program` lays over it what tests have changed.
`answers` wraps that up, and `damage` spoils it when a fault is rehearsed.
"""

from __future__ import annotations

from textlift.sandbox.mgage.answers import failure
from textlift.sandbox.mgage.service import MGage

__all__ = ["MGage", "failure"]
