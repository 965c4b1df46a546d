"""A connector in the style of dlt's documentation: requests, xmltodict, dictionaries, defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import dlt
import requests
import xmltodict

LISTS = {
    "subscriptions": "subscription",
    "custom_columns": "custom_column",
    "clicks": "click",
    "integrations": "integration",
}


def read(session: requests.Session, url: str, items: Iterable[str], **params: str | int) -> Any:
    """Return a response as a dictionary, in which these elements are lists."""
    response = session.get(url, params=params)
    response.raise_for_status()
    answer = xmltodict.parse(
        response.content, attr_prefix="", cdata_key="value", force_list=tuple(items)
    )
    return answer["response"]


@dlt.resource(primary_key="id", write_disposition="merge")
def profiles(session: requests.Session, url: str) -> Iterator[Any]:
    """Yield all profiles. dlt loads their lists into child tables."""
    for page in count(1):
        items = ("profile", *LISTS.values())
        answer = read(session, f"{url}profiles", items, limit=1000, page=page)["profiles"]
        if answer["num"] == "0":
            return
        for row in answer["profile"]:
            for name, item in LISTS.items():
                row[name] = (row.get(name) or {}).get(item, [])
        yield answer["profile"]


@dlt.resource(primary_key="id", write_disposition="merge")
def outgoing_messages(session: requests.Session, url: str) -> Iterator[Any]:
    """Yield all outgoing messages."""
    for page in count(1):
        params: dict[str, Any] = {"include_profile": "false", "limit": 1000, "page": page}
        answer = read(session, f"{url}sent_messages", ["message"], **params)["messages"]
        yield answer["message"]
        if page >= int(answer["page_count"]):
            return


RESOURCES = {"profiles": profiles, "outgoing_messages": outgoing_messages}
