"""Pages in the format of each service, and the rows after decoding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from textlift.arrow.build import build_page
from textlift.arrow.pages import Page
from textlift.codec import xml
from textlift.codec.json import JsonCodec
from textlift.declare import Endpoint
from textlift.http.client import HttpResponse
from textlift.mcommons.endpoints import DIALECT, ENDPOINTS
from textlift.mcommons.errors import check
from textlift.mgage.endpoints import DIALECT as MGAGE_DIALECT
from textlift.mgage.endpoints import MESSAGES


def rows(page: Page) -> list[dict[str, Any]]:
    """The records, without their empty columns."""
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in page.table.to_pylist()
    ]


def entries(page: Page, suffix: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in page.children[suffix].to_pylist()
    ]


# Mobile Commons: read, profile, page_of

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
PROFILES = BY_NAME["profiles"]
HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n<response success="true">\n'


def read(body: bytes, endpoint: Endpoint = PROFILES, status: int = 200) -> Page:
    body = check(HttpResponse(status, "application/xml", body))
    return build_page(endpoint, xml.XmlCodec(endpoint, DIALECT).decode(body))


def profile(number: int) -> bytes:
    return (
        f'<profile id="{number}"><first_name>Ana {number}</first_name><email/>'
        f"<updated_at>2025-06-21 14:49:40 UTC</updated_at>"
        f'<source type="API" name="x &gt; y"/><address><city>Ávila</city></address>'
        f'<subscriptions><subscription campaign_id="{number}" status="Active"/></subscriptions>'
        f"<clicks>\n</clicks></profile>"
    ).encode()


def page_of(records: Sequence[bytes], counted: bool) -> bytes:
    num = f' num="{len(records)}"' if counted else ""
    holder = f'<profiles{num} page="1">\n'.encode()
    return HEAD + holder + b"\n".join(records) + b"\n</profiles>\n</response>\n"


# mGage: decode, message, answer_of

LINK = "https://communicatepro.mgage.com/api/messages/program/121811?page=2"
NAMES = {"campaignName": "Café", "programName": "Spring", "programType": "Text to Join"}


def message(number: int, /, **changes: Any) -> dict[str, Any]:
    return {
        "type": "MO",
        "deliveryStatus": "Received",
        "number": f"1555{number:07}",
        "body": f"text {number}",
        "date": "2014-12-05T10:00:00.00",
        "network": "T-Mobile",
        **changes,
    }


def text_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def answer_of(
    messages: Sequence[str],
    link: str | None = LINK,
    names: Mapping[str, Any] = NAMES,
    meta_last: bool = False,
) -> str:
    """A successful answer, from the texts of its messages."""
    meta = f'"meta":{{"generalErrors":[],"nextPageUrl":{text_of(link)}}}'
    members = "".join(f"{text_of(name)}:{text_of(value)},\n" for name, value in names.items())
    data = f'"data":{{\n{members}"messages":[{",".join(messages)}]}}'
    return f"{{{data},{meta}}}" if meta_last else f"{{{meta},{data}}}"


def decode(body: bytes) -> Page:
    return build_page(MESSAGES, JsonCodec(MESSAGES, MGAGE_DIALECT).decode(body))


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
