"""Defaults of the mGage source."""

from __future__ import annotations

BASE_URL = "https://communicatepro.mgage.com/api/"
#: Concurrent requests. The vendor states no limit.
CONCURRENCY = 8
PAGE_SIZE = 500
