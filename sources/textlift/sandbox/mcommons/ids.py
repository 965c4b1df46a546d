"""Which ids things have, and which phone numbers people."""

from __future__ import annotations

import re
from bisect import bisect_left

_ENDLESS = 2**62

IDS = {
    "profiles": range(300_000_007, _ENDLESS, 7),
    "incoming_messages": range(1_290_000_001, _ENDLESS, 3),
    "outgoing_messages": range(6_480_000_000, _ENDLESS, 2),
    "broadcasts": range(123_456, _ENDLESS, 5),
    "calls": range(11_765_581, _ENDLESS, 1),
    "clicks": range(70_000_123, _ENDLESS, 4),
    "mdata_queries": range(1, _ENDLESS, 1),
    "subscribers": range(50_000_000, _ENDLESS, 1),
    "campaigns": range(162_600, _ENDLESS, 3),
    "groups": range(402_704, _ENDLESS, 11),
    "keywords": range(763_101, _ENDLESS, 2),
    "mconnects": range(10, _ENDLESS, 1),
    "tinyurls": range(8_101, _ENDLESS, 1),
    "mdatas": range(4_667, _ENDLESS, 13),
    "tags": range(31, _ENDLESS, 1),
    "attachments": range(143_543, _ENDLESS, 17),
}
"""The id of the n-th thing of each kind is `IDS[kind][n]`."""

SEATS = 13
"""Subscriptions are numbered by profile, so many numbers to each, enough for all campaigns."""


def number_of(kind: str, id: int) -> int:
    """Where in the series of its kind an id stands. Raises KeyError if it cannot be one."""
    try:
        return IDS[kind].index(id)
    except ValueError:
        raise KeyError(id) from None


def profile_id(profile: int | None) -> int | None:
    """The id of a profile, None for nobody."""
    return None if profile is None else IDS["profiles"][profile]


def opt_in_paths(campaign: int) -> range:
    """The ids of a campaign's opt-in paths."""
    return range(25_000 + 10 * campaign, 25_000 + 10 * campaign + 1 + campaign % 3)


# Phone numbers: 1, an area code, 555, four digits. Ten thousand to an area code, scattered by a
# factor that shares no divisor with that.
_AREAS = (202, *(area for area in range(203, 990) if area % 100 != 11))
_SCATTER = 7919
_GATHER = pow(_SCATTER, -1, 10_000)


def phone_number(profile: int | None) -> str | None:
    """The number of a profile, with country code, of some with another; None for nobody."""
    if profile is None:
        return None
    area, line = divmod(profile, 10_000)
    code = "44" if profile % 50 == 17 else "1"
    return f"{code}{_AREAS[area % len(_AREAS)]}555{line * _SCATTER % 10_000:04d}"


def profile_with(digits: str) -> int | None:
    """The profile that has a number, or would have, were there so many."""
    number = re.fullmatch(r"(?:1|44)([2-9]\d\d)555(\d{4})", digits)
    if number is None:
        return None
    code = int(number[1])
    area = bisect_left(_AREAS, code)
    if area == len(_AREAS) or _AREAS[area] != code:
        return None
    profile = area * 10_000 + int(number[2]) * _GATHER % 10_000
    return profile if phone_number(profile) == digits else None
