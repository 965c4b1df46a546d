"""The rows that are there from the start and never change: campaigns, groups, keywords, …"""

from __future__ import annotations

from typing import Any

from textlift.sandbox.clock import moment
from textlift.sandbox.mcommons import words
from textlift.sandbox.mcommons.curve import DAY
from textlift.sandbox.mcommons.ids import IDS, opt_in_paths
from textlift.sandbox.mcommons.words import CAMPAIGNS, GROUPS, KEYWORDS
from textlift.sandbox.mcommons.world import World
from textlift.sandbox.mcommons.xml import Row

FixedRows = dict[str, list[Row]]
"""Rows by kind. The sizes of groups are not among them; they are the world's."""


def fixed_rows(world: World) -> FixedRows:
    """All of them."""
    campaigns = [_campaign(number, world) for number in range(len(world.campaigns))]
    mconnects = [_mconnect(number) for number in range(len(words.MCONNECTS))]
    return {
        "campaigns": campaigns,
        "groups": [
            {
                **group_reference(number),
                "status": "inactive" if number == len(GROUPS) - 1 else "active",
                "size": 0,
                **({"hint": words.HINTS[number]} if number in words.HINTS else {}),
            }
            for number in range(len(GROUPS))
        ],
        "keywords": [_keyword(number, world) for number in range(len(KEYWORDS))],
        "mconnects": mconnects,
        "tinyurls": [_tinyurl(number, world) for number in range(len(words.TINYURLS))],
        "mdatas": _mdatas(world),
        "tags": _tags(campaigns, mconnects),
        "attachments": [
            {
                "id": IDS["attachments"][number],
                "name": name,
                "thumbnail_link": f"http://www.example.org/attachments/{number}/display?size=small",
            }
            for number, name in enumerate(words.ATTACHMENTS)
        ],
    }


def group_reference(group: int) -> Row:
    """A group, as other rows mention it."""
    name, type = GROUPS[group]
    return {"name": name, "id": IDS["groups"][group], "type": type}


def _campaign(number: int, world: World) -> Row:
    campaign = CAMPAIGNS[number]
    return {
        "id": IDS["campaigns"][number],
        "active": number < len(world.campaigns) - 1,
        "name": campaign.name,
        "description": campaign.description or None,
        "tags": list(campaign.tags),
        "opt_in_paths": [
            {
                "id": path,
                "active": place < 2,
                "name": f"{campaign.name} / path {place + 1}",
                "tags": ["web"] if place == 1 else [],
            }
            for place, path in enumerate(opt_in_paths(number))
        ],
    }


def _keyword(number: int, world: World) -> Row:
    ended = number % 5 == 4
    last_day = moment(world.start + (number + 10) * DAY)
    return {
        "id": IDS["keywords"][number],
        "active": not ended,
        "name": KEYWORDS[number],
        "opt_in_path_id": opt_in_paths(number % len(world.campaigns))[0],
        "ended_at": last_day if ended else None,
        "created_at": moment(world.start + number * 3600),
        "updated_at": last_day,
    }


def _mconnect(number: int) -> Row:
    backed_up = number == 1
    return {
        "id": IDS["mconnects"][number],
        "active": number != 2,
        "name": words.MCONNECTS[number],
        "destination_number": f"120255502{number:02d}",
        "destination_description": "Front desk" if number else None,
        "voip_number": f"180055501{number:02d}",
        "call_type": ("legislator", "single number", "round robin")[number],
        "autoroute": number == 0,
        "subscriber_follow_up": "Thanks for calling! How did it go?",
        "nonsubscriber_follow_up": None,
        "call_timeout": 30 * (number + 1),
        "failover_number": "12025550199" if backed_up else None,
        "failover_text": "All lines are busy & we're sorry" if backed_up else None,
        "voicemail": backed_up,
        "transcribe": backed_up,
        "shortcode": "55555",
        "crm_alert_id": None,
        "tags": ["actions", "calls"][: 2 - number],
    }


def _tinyurl(number: int, world: World) -> Row:
    name, url, key = words.TINYURLS[number]
    return {
        "id": IDS["tinyurls"][number],
        "created_at": moment(world.start),
        "name": name,
        "mode": "direct" if number % 2 else "interstitial",
        "url": url,
        "host": "lil.example.org",
        "description": "For the 2nd & 3rd broadcast" if number == 1 else None,
        "key": key,
    }


def _mdatas(world: World) -> list[Row]:
    id = IDS["mdatas"][0]
    return [
        {
            "id": id,
            "name": "Polling places",
            "type": "database",
            "uuid": "MD8C3C00000000000000000000000000001",
            "entries": [
                {
                    "id": 91_000 + number,
                    "mdata_id": id,
                    "created_at": moment(world.start + number * 3600),
                    "input": input,
                    "output": words.MDATA_OUTPUTS[number],
                }
                for number, input in enumerate(words.MDATA_INPUTS)
            ],
        },
        {
            "id": IDS["mdatas"][1],
            "name": "Web lookup",
            "type": "web_service",
            "uuid": "MDAC9F00000000000000000000000000002",
            "entries": [],
        },
    ]


def _tags(campaigns: list[Row], mconnects: list[Row]) -> list[Row]:
    """One row for each tag on each thing; tags on broadcasts are not among them."""
    paths = [path for campaign in campaigns for path in campaign["opt_in_paths"]]
    kinds: list[tuple[str, list[Row]]] = [
        ("campaign", campaigns),
        ("opt_in_path", paths),
        ("mconnect", mconnects),
    ]
    tagged: list[tuple[str, dict[str, Any]]] = [
        (tag, {"id": row["id"], "type": type})
        for type, rows in kinds
        for row in rows
        for tag in row["tags"]
    ]
    return [
        {"id": IDS["tags"][number], "name": tag, "taggable_object": thing}
        for number, (tag, thing) in enumerate(tagged)
    ]
