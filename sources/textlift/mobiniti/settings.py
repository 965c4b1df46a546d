"""Defaults of the Mobiniti source."""

from __future__ import annotations

BASE_URL = "https://api.mobiniti.com/v1/"
#: Before the service existed. Years without rows need very few requests.
START_DATE = "2010-01-01"
#: Concurrent requests. The vendor states no limit, but one for each route.
CONCURRENCY = 8
PAGE_SIZE = 100
#: Requests per second of each route that the vendor allows.
REQUESTS_PER_SECOND = 1.0
