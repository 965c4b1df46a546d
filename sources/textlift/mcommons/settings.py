"""Defaults of the Mobile Commons source."""

from __future__ import annotations

BASE_URL = "https://secure.mcommons.com/api/"
#: Before the service existed; years without rows cost next to nothing.
START_DATE = "2005-01-01"
#: Calls at a time. The vendor allows a company 160 and asks clients for no more than 80.
CONCURRENCY = 16
PAGE_SIZE = 1000
