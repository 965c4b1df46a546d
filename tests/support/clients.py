"""A client of the Mobile Commons sandbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import requests
from lxml import etree

from textlift.sandbox import Sandbox
from textlift.sandbox.clock import parse_time
from textlift.sandbox.mcommons import MobileCommons

NOW = "2025-06-01T12:00:00Z"
BASIC = ("sandbox@example.org", "sandbox-password")
MASTER_CAMPAIGN = 162600


class Client:
    """Asks a sandbox, and takes its answers apart."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.session = requests.Session()
        self.session.auth = BASIC

    def get(self, endpoint: str, **params: Any) -> requests.Response:
        # `from` cannot be the name of an argument.
        params = {name.rstrip("_"): value for name, value in params.items()}
        return self.session.get(self.box.url + endpoint, params=params, timeout=30)

    def root(self, endpoint: str, **params: Any) -> Any:
        response = self.get(endpoint, **params)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/xml; charset=utf-8"
        assert response.content.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<')
        return etree.fromstring(response.content)

    def listing(self, endpoint: str, **params: Any) -> Any:
        """The element that holds the rows."""
        root = self.root(endpoint, **params)
        assert root.tag == "response"
        assert root.attrib == {"success": "true"}
        (element,) = root
        return element

    def ids(self, endpoint: str, **params: Any) -> list[int]:
        return [row_id(row) for row in self.listing(endpoint, **params)]

    def all_ids(self, endpoint: str, **params: Any) -> list[int]:
        """The ids of all pages, up to the first empty one."""
        ids: list[int] = []
        page = 1
        while found := self.ids(endpoint, page=page, **params):
            ids += found
            page += 1
        return ids

    def error(self, endpoint: str, **params: Any) -> tuple[int, str]:
        root = self.root(endpoint, **params)
        assert root.tag == "response"
        assert root.attrib == {"success": "false"}
        (error,) = root
        assert error.tag == "error"
        return int(error.get("id")), error.get("message")


def service_of(client: Client) -> MobileCommons:
    service = client.box.service
    assert isinstance(service, MobileCommons)
    return service


def row_id(row: Any) -> int:
    return int(row.get("id") or row.findtext("id"))


def time(text: str) -> datetime:
    return datetime.fromtimestamp(parse_time(text), timezone.utc)


def written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


Open = Callable[..., Client]
KINDS = [
    "profiles", "incoming_messages", "outgoing_messages", "broadcasts", "calls", "clicks",
    "mdata_queries", "campaigns", "subscribers", "groups", "keywords", "mconnects", "tinyurls",
    "mdatas", "tags", "attachments",
]  # fmt: skip


def everything(service: MobileCommons) -> dict[str, list[dict[str, Any]]]:
    return {kind: service.rows(kind) for kind in KINDS}
