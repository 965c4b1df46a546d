"""Defaults of the mGage source."""

from __future__ import annotations

BASE_URL = "https://communicatepro.mgage.com/api/"
#: Calls at a time. The vendor prints no limit.
CONCURRENCY = 8
PAGE_SIZE = 500
