"""The sandbox of TextMe: it answers as the vendor's page prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import canonicalize

import pytest
import requests

from tests.conftest import PASSWORD, TOKEN, USERNAME
from textlift.sandbox import Sandbox
from textlift.sandbox.textme import CALLS, ORDERS, TextMe

NOW = "2026-06-01T12:00:00Z"
DAY = 86_400

# Samples of the vendor's page, which prints them without line breaks.

TIMED = """<timed-campaign> <campaign-id type="integer">1234</campaign-id>
<created-at type="timestamp">2008-12-19 19:52:00 UTC</created-at> <id type="integer">12</id>
<opt-in-sms-message>This is your opt-in message</opt-in-sms-message>
<opt-out-sms-message nil="true"></opt-out-sms-message> <subsequent-opt-in-attempt-sms-message>
This is your subsequent opt-in attempt message </subsequent-opt-in-attempt-sms-message>
<updated-at type="timestamp">2008-12-29 19:53:53 UTC</updated-at> </timed-campaign>"""
PARTICIPANTS = """<timed-campaign-users type="array"> <timed-campaign-user>
<created-at type="timestamp">2008-12-19 19:59:28 UTC</created-at>
<timing-sequence-end-at type="timestamp"> 2008-12-20 02:15:00 UTC </timing-sequence-end-at>
<timing-sequence-start-at type="timestamp"> 2008-12-19 19:59:28 UTC </timing-sequence-start-at>
<user> <mobile-phone>5552435262</mobile-phone> </user> </timed-campaign-user>
</timed-campaign-users>"""
SUBSCRIPTIONS = """<subscriptions> <subscription> <confirmed-at type="timestamp" nil="true"/>
<opt-in-at type="timestamp">Wed Oct 01 04:19:17 UTC 2008</opt-in-at>
<user> <birthday-on type="date" nil="true"/> <carrier-id type="integer" nil="true"/>
<email nil="true"/> <first-name nil="true"/> <gender nil="true"/> <last-name nil="true"/>
<mobile-phone>3125551212</mobile-phone> <postal-code nil="true"/>
<timezone-id type="integer" nil="true"/> </user> </subscription> </subscriptions>"""
VOTE = """<vote_campaign> <campaign_id>1234</campaign_id> <vote_campaign_id>786</vote_campaign_id>
<description>My vote campaign</description> <start_at>2010-02-16 17:17:00 UTC</start_at>
<end_at>2010-03-31 16:18:00 UTC</end_at> <question>What is your favorite color?</question>
<vote_campaign_options> <vote_campaign_option> <option_name>blue</option_name>
<option_keyword>BLUE</option_keyword> <option_vote_count>1</option_vote_count>
<option_aliases> <option_alias>B</option_alias> <option_alias>BLU</option_alias> </option_aliases>
</vote_campaign_option> <vote_campaign_option> <option_name>red</option_name>
<option_keyword>RED</option_keyword> <option_vote_count>2</option_vote_count>
</vote_campaign_option> </vote_campaign_options> </vote_campaign>"""
CAMPAIGN_LIST = """<campaigns type="array"> <campaign>
<description>My first info campaign</description> <id type="integer">1234</id>
<keyword>FIRSTINFO</keyword> <account-id type="integer">10</account-id> <status>active</status>
<campaign-type> <code>INFO</code> </campaign-type> </campaign> </campaigns>"""

INFO = {"id": 1234, "description": "My first info campaign", "keyword": "FIRSTINFO"}
BLUE = {"option_name": "blue", "option_keyword": "BLUE", "option_vote_count": 1}
RED = {"option_name": "red", "option_keyword": "RED", "option_vote_count": 2}
SAMPLES = {
    "api/campaigns.xml": (CAMPAIGN_LIST, "INFO", "", {}),
    "api/timed_campaigns/1234.xml": (
        TIMED,
        "TIMED",
        "timed_campaigns",
        {
            "id": 12,
            "created_at": "2008-12-19T19:52:00Z",
            "updated_at": "2008-12-29T19:53:53Z",
            "opt_in_sms_message": "This is your opt-in message",
            "subsequent_opt_in_attempt_sms_message": "This is your subsequent opt-in attempt message",
        },
    ),
    "api/timed_campaigns/1234/participants.xml": (
        PARTICIPANTS,
        "TIMED",
        "participants",
        {
            "created_at": "2008-12-19T19:59:28Z",
            "timing_sequence_end_at": "2008-12-20T02:15:00Z",
            "timing_sequence_start_at": "2008-12-19T19:59:28Z",
            "user": {"mobile_phone": "5552435262"},
        },
    ),
    "api/subscription_campaigns/1234/subscriptions.xml": (
        SUBSCRIPTIONS,
        "SUB",
        "subscriptions",
        {"opt_in_at": "2008-10-01T04:19:17Z", "user": {"mobile_phone": "3125551212"}},
    ),
    "api/vote_campaigns/1234.xml": (
        VOTE,
        "VOTE",
        "vote_campaigns",
        {
            "vote_campaign_id": 786,
            "description": "My vote campaign",
            "start_at": "2010-02-16T17:17:00Z",
            "end_at": "2010-03-31T16:18:00Z",
            "question": "What is your favorite color?",
            "vote_campaign_options": [{**BLUE, "option_aliases": ["B", "BLU"]}, RED],
        },
    ),
}


class Client:
    """A client with a login, and the sandbox that it calls."""

    def __init__(self, **options: Any) -> None:
        self.service = TextMe(**{"now": NOW, "people": 60, **options})
        self.box = Sandbox(self.service)

    def get(self, path: str, **headers: str) -> requests.Response:
        auth = None if headers else (USERNAME, PASSWORD)
        return requests.get(self.box.url + path, auth=auth, headers=headers, timeout=30)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Yield a client of an account; the parameter has its options."""
    made = Client(**getattr(request, "param", {}))
    with made.box:
        yield made


def with_options(*options: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", options, indirect=True)


@with_options({"empty": True})
@pytest.mark.parametrize("path", SAMPLES)
def test_a_row_is_printed_as_on_the_page_of_the_vendor(client: Client, path: str) -> None:
    sample, type, table, row = SAMPLES[path]
    client.service.put("campaigns", {**INFO, "campaign_type": type})
    if table:
        client.service.put(table, {"campaign_id": 1234, **row})
    answer = client.get(path)
    assert answer.headers["Content-Type"] == "application/xml; charset=utf-8"
    assert answer.text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<')
    printed = canonicalize(answer.text, strip_text=True)
    assert printed == canonicalize(sample, strip_text=True)
    wide = [line for line in answer.text.splitlines() if line.count("<") == 2 and len(line) > 80]
    assert wide == []


@with_options({"empty": True})
def test_an_empty_list_is_printed_as_rails_does(client: Client) -> None:
    for type, path in (
        ("SUB", "subscription_campaigns/1234/subscriptions"),
        ("TIMED", "timed_campaigns/1234/participants"),
    ):
        client.service.put("campaigns", {**INFO, "campaign_type": type})
        body = client.get(f"api/{path}.xml").text.partition("\n")[2]
        empty = {"SUB": "<subscriptions>\n</subscriptions>", "TIMED": '<nil-classes type="array"/>'}
        assert body == empty[type]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("api/timed_campaigns/99.xml", 404, "No campaign 99"),
        ("api/timed_campaigns/3.xml", 422, "Campaign 3 is not a campaign of type TIMED"),
        ("api/subscription_campaigns/13/subscriptions.xml", 422, "Campaign 13 is not"),
        ("api/campaigns.xml?status=lost", 400, "Invalid status: lost"),
        ("api/campaigns.xml?accounts=10,99", 401, "You do not have permission"),
        ("api/messages.xml", 404, "Not found"),
    ],
)
def test_a_failure_says_why(client: Client, path: str, status: int, message: str) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert f"<message>{message}" in answer.text
    assert answer.text.splitlines()[1] == "<error>"


@pytest.mark.parametrize(
    "path", [path.format(id=id) for path, id in zip(CALLS, (0, 0, 5, 5, 3, 7, 0))]
)
def test_every_call_needs_a_login_or_a_token(client: Client, path: str) -> None:
    statuses = [
        client.get(path, api_token=TOKEN).status_code,
        client.get(path, api_token="other").status_code,
        client.get(path, authorization="Basic other").status_code,
    ]
    assert statuses == [200, 401, 401]


@with_options({"requires_https": True})
def test_a_token_over_plain_http_gets_a_403(client: Client) -> None:
    path = "api/accounts.xml"
    assert client.get(path).status_code == 200
    refused = client.get(path, api_token=TOKEN)
    assert (refused.status_code, "over https only" in refused.text) == (403, True)
    forwarded = client.get(path, **{"api_token": TOKEN, "X-Forwarded-Proto": "https"})
    assert forwarded.status_code == 200


@with_options({"has_carriers": False}, {"has_carriers": True})
def test_carriers_are_a_feature(client: Client) -> None:
    assert client.get("app/carriers.xml").status_code == (
        200 if client.service.has_carriers else 401
    )


@with_options(*({"order": order, "people": 2000} for order in ORDERS))
def test_participants_come_in_pages_of_250(client: Client) -> None:
    path = "api/timed_campaigns/5/participants.xml"
    counts, page = [], 1
    while count := client.get(f"{path}?page={page}").text.count("<timed-campaign-user>"):
        counts.append(count)
        page += 1
    assert len(counts) > 2
    assert {*counts[:-1]} == {250}
    assert sum(counts) == len(client.service.select("participants", 5))
    assert client.get(path).text == client.get(f"{path}?page=1").text


@with_options({"people": 300})
def test_people_come_and_leave_and_vote_as_time_goes_by(client: Client) -> None:
    def state() -> dict[str, Any]:
        kinds = ("participants", "subscriptions", "vote_campaigns")
        return {kind: {**client.service.rows(kind)} for kind in kinds}

    before = state()
    client.service.advance(60 * DAY)
    after = state()
    for kind in ("participants", "subscriptions"):
        assert {*after[kind]} - {*before[kind]}
        assert {*before[kind]} - {*after[kind]}
    assert before["vote_campaigns"] != after["vote_campaigns"]
    # The same account, opened later.
    later = TextMe(people=300, now=client.service.now())
    assert all({**later.rows(kind)} == rows for kind, rows in after.items())


@pytest.mark.parametrize("options", [{"people": -1}, {"order": "phone"}])
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"there cannot be -1 people|no order 'phone'"):
        TextMe(**options)
