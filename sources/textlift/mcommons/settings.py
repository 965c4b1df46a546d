"""Defaults of the Mobile Commons source."""

from __future__ import annotations

BASE_URL = "https://secure.mcommons.com/api/"
#: Before the service existed. Years without rows need very few requests.
START_DATE = "2005-01-01"
#: Concurrent requests. The vendor allows 160 for a company, and recommends at most 80.
CONCURRENCY = 16
PAGE_SIZE = 1000
