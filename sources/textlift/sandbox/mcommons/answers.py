"""What an answer of Mobile Commons is made of: XML, and HTML pages for failures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from http.client import responses

from textlift.sandbox.page import page
from textlift.sandbox.server import Response
from textlift.sandbox.xml import attributes, wrapped

ERRORS = dict(
    enumerate(
        """\
Unknown error
Invalid campaign id
Invalid broadcast time
Invalid message body
Invalid company id
Invalid phone number
Invalid group id
Invalid start time
Invalid end time
Invalid mData id
Invalid Key
Phone is not opted-in to this campaign
Invalid fundraising id
Invalid message template
Phone is not textable
Invalid mConnect id
Invalid query parameters
Too many messages
Invalid name
Invalid opt-in path
Invalid URL
Invalid attachment
Invalid broadcast id
Invalid broadcast state change
Broadcast has not been sent. Can not retrieve recipients.
Message Template was mdata_request but campaign is not an mData
Invalid user id
API rate limit exceeded
Missing phone_number parameter
Invalid profile item save behavior
Invalid profile attributes
Invalid previous id
Invalid tag name
Invalid tag parameters
Invalid shortcode id
Invalid date range
Invalid scheduled_message_id
Message has already been sent
""".splitlines()
    )
)
"""The vendor's error messages by id."""

INVALID = {
    "campaign_id": 1,
    "group_id": 6,
    "mdata_id": 9,
    "fundraising_id": 12,
    "mconnect_id": 15,
    "url_id": 20,
    "from": 7,
    "start_time": 7,
    "to": 8,
    "end_time": 8,
    "window": 35,
}
"""The error id for an invalid parameter; 16 for all others."""


def document(lines: Iterable[str]) -> Response:
    """An answer of XML."""
    # Encoded line by line: one emoji would make a string of the whole four times as wide.
    body = b"\n".join(
        [line.encode() for line in ('<?xml version="1.0" encoding="UTF-8"?>', *lines)]
    )
    return Response(200, body, {"Content-Type": "application/xml; charset=utf-8"})


def success(lines: Iterable[str]) -> Response:
    """An answer with data."""
    return document(wrapped("response", lines, {"success": "true"}))


def error(id: int) -> Response:
    """A failure that is reported by its id, with HTTP 200."""
    values = {"id": id, "message": ERRORS[id]}
    return document(wrapped("response", [f"  <error{attributes(values)}/>"], {"success": "false"}))


def bad_request(id: int) -> Response:
    """The same, with HTTP 400 and without an XML declaration."""
    response = error(id)
    return replace(response, status=400, body=response.body.partition(b"\n")[2] + b"\n")


def failure(status: int) -> Response:
    """A failure that is reported by an HTML page."""
    title = responses.get(status, f"Error {status}")
    text, headers = f"The server answered with the status {status}.", {}
    if status == 401:
        title = "Access denied"
        text = "HTTP Basic: Access denied. Check the username and password, or the token."
        headers = {"WWW-Authenticate": 'Basic realm="Mobile Commons"'}
    elif status == 404:
        title, text = "Page not found", "The page you were looking for doesn't exist."
    elif status == 405:
        headers = {"Allow": "GET"}
    return page(status, title, text, **headers)
