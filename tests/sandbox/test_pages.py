"""The sandbox answers as the vendor's pages say, over real HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import requests
from lxml import etree

from tests.support.clients import BASIC, Client, Open, row_id, service_of, time
from textlift.sandbox.clock import parse_time
from textlift.sandbox.mcommons import MobileCommons

COMPANY = "COSANDBOX00000000000000000000000001"


def test_basic_and_bearer_are_both_accepted(world: Client) -> None:
    url = world.box.url + "keywords"
    assert requests.get(url, auth=BASIC, timeout=30).status_code == 200
    bearer = {"Authorization": "Bearer sandbox-token"}
    assert requests.get(url, headers=bearer, timeout=30).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_without_credentials_there_is_an_html_page(world: Client, headers: dict[str, str]) -> None:
    response = requests.get(world.box.url + "keywords", headers=headers, timeout=30)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic")
    assert_html(response)


def test_wrong_password_is_refused(world: Client) -> None:
    response = requests.get(world.box.url + "keywords", auth=(BASIC[0], "wrong"), timeout=30)
    assert response.status_code == 401


def test_an_unknown_path_is_an_html_page(world: Client) -> None:
    for url in (world.box.url + "nosuch", world.box.url.removesuffix("api/") + "profiles"):
        response = world.session.get(url, timeout=30)
        assert response.status_code == 404
        assert_html(response)


def test_only_get_is_answered_and_the_connection_survives_a_body(world: Client) -> None:
    response = world.session.post(world.box.url + "keywords", data="x" * 5000, timeout=30)
    assert response.status_code == 405
    assert_html(response)
    assert world.get("keywords").status_code == 200


def assert_html(response: requests.Response) -> None:
    assert response.headers["Content-Type"].startswith("text/html")
    page = etree.fromstring(response.content, etree.HTMLParser())
    assert page.findtext(".//h4")
    assert page.findtext(".//p")


def test_company(world: Client) -> None:
    assert world.error("keywords", company="CO1") == (4, "Invalid company id")
    assert world.ids("keywords", company=COMPANY) == world.ids("keywords") != []


@pytest.mark.parametrize(
    ("endpoint", "parameter", "error"),
    [
        ("campaign_subscribers", "campaign_id", (1, "Invalid campaign id")),
        ("group_members", "group_id", (6, "Invalid group id")),
        ("mdata_queries", "mdata_id", (9, "Invalid mData id")),
        ("mdata_entries", "mdata_id", (9, "Invalid mData id")),
        ("donation_summary", "fundraising_id", (12, "Invalid fundraising id")),
        ("calls", "mconnect_id", (15, "Invalid mConnect id")),
        ("call_count", "mconnect_id", (15, "Invalid mConnect id")),
        ("clicks", "url_id", (20, "Invalid URL")),
    ],
)
def test_a_required_id_that_is_missing_or_wrong(
    world: Client, endpoint: str, parameter: str, error: tuple[int, str]
) -> None:
    assert world.error(endpoint) == error
    assert world.error(endpoint, **{parameter: 999}) == error
    assert world.error(endpoint, **{parameter: "x"}) == error


@pytest.mark.parametrize("endpoint", ["messages", "sent_messages", "broadcasts"])
def test_an_unknown_campaign_as_a_filter(world: Client, endpoint: str) -> None:
    assert world.error(endpoint, campaign_id=5) == (1, "Invalid campaign id")


WINDOWS = [
    ("profiles", "from", "to", {}),
    ("messages", "start_time", "end_time", {}),
    ("sent_messages", "start_time", "end_time", {}),
    ("broadcasts", "start_time", "end_time", {}),
    ("calls", "from", "to", {"mconnect_id": 10}),
    ("clicks", "from", "to", {"url_id": 8101}),
    ("mdata_queries", "from", "to", {"mdata_id": 4667}),
    ("campaign_subscribers", "from", "to", {"campaign_id": 162603}),
    ("group_members", "from", "to", {"group_id": 402704}),
    ("donation_summary", "start_time", "end_time", {"fundraising_id": 501}),
]


@pytest.mark.parametrize(("endpoint", "start", "end", "parent"), WINDOWS)
def test_bad_windows(
    world: Client, endpoint: str, start: str, end: str, parent: dict[str, int]
) -> None:
    def error(**window: str) -> tuple[int, str]:
        return world.error(endpoint, **parent, **window)

    assert error(**{start: "yesterday"}) == (7, "Invalid start time")
    assert error(**{start: "2025-02-30"}) == (7, "Invalid start time")
    assert error(**{end: "12:00"}) == (8, "Invalid end time")
    assert error(**{start: "2025-02-02", end: "2025-02-01"}) == (35, "Invalid date range")


@pytest.mark.parametrize(
    ("endpoint", "parent"),
    [(endpoint, parent) for endpoint, start, _, parent in WINDOWS if endpoint != "donation_summary"]
    + [("groups", {})],
)
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_bad_paging(world: Client, endpoint: str, parent: dict[str, int], value: str) -> None:
    assert world.error(endpoint, **parent, page=value) == (16, "Invalid query parameters")
    if endpoint != "clicks":
        assert world.error(endpoint, **parent, limit=value) == (16, "Invalid query parameters")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-03-04T05:06:07Z", "2025-03-04T05:06:07+00:00"),
        ("2025-03-04T05:06:07", "2025-03-04T05:06:07+00:00"),
        ("2025-03-04T05:06:07.9Z", "2025-03-04T05:06:07+00:00"),
        ("2025-03-04T05:06:07+00:00", "2025-03-04T05:06:07+00:00"),
        ("2025-03-04T05:06:07-05:00", "2025-03-04T10:06:07+00:00"),
        ("2025-03-04T05:06:07+0530", "2025-03-03T23:36:07+00:00"),
        ("2025-03-04T05:06", "2025-03-04T05:06:00+00:00"),
        ("2025-03-04", "2025-03-04T00:00:00+00:00"),
    ],
)
def test_times_as_parameters(text: str, utc: str) -> None:
    assert time(text) == datetime.fromisoformat(utc)


@pytest.mark.parametrize(
    "text",
    ["", "now", "20250304", "2025-03-04T05:06:07 00:00", "2025-13-01", "2025-03-04T05:06:07X"],
)
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


CURSORS = [
    ("profiles", "profiles", "updated_at", "from", "to", {}),
    ("messages", "incoming_messages", "received_at", "start_time", "end_time", {}),
    ("sent_messages", "outgoing_messages", "sent_at", "start_time", "end_time", {}),
    ("broadcasts", "broadcasts", "delivery_time", "start_time", "end_time", {}),
    ("clicks", "clicks", "created_at", "from", "to", {"url_id": 8101}),
    ("campaign_subscribers", "subscribers", "activated_at", "from", "to", {"campaign_id": 162603}),
    ("group_members", "profiles", "updated_at", "from", "to", {"group_id": 402704}),
]


@pytest.mark.parametrize(("endpoint", "kind", "cursor", "start", "end", "parent"), CURSORS)
def test_windows_are_inclusive_at_both_ends_to_the_second(
    world: Client,
    service: MobileCommons,
    endpoint: str,
    kind: str,
    cursor: str,
    start: str,
    end: str,
    parent: dict[str, int],
) -> None:
    dated = [row for row in service.truth(endpoint, **parent) if row[cursor]]
    rows = sorted(dated, key=lambda row: row[cursor])
    first, last = rows[len(rows) // 3][cursor], rows[len(rows) // 2][cursor]

    def found(since: datetime, until: datetime) -> set[int]:
        window = {start: since.isoformat(), end: until.isoformat()}
        return set(world.all_ids(endpoint, **parent, **window))

    def expected(since: datetime, until: datetime) -> set[int]:
        return {row["id"] for row in rows if since <= row[cursor] <= until}

    second = timedelta(seconds=1)
    assert found(first, last) == expected(first, last)
    assert found(first, first) == expected(first, first) != set()
    assert found(first + second, last - second) == expected(first + second, last - second)
    assert len(found(first + second, last - second)) < len(found(first, last))


def test_calls_and_queries_have_windows_too(world: Client, service: MobileCommons) -> None:
    calls = service.truth("calls", mconnect_id=10)
    end = calls[3]["end_time"].isoformat()
    root = world.root("calls", mconnect_id=10, from_=end, to=end)
    assert [row_id(call) for call in root] == [calls[3]["id"]]
    queries = service.truth("mdata_queries", mdata_id=4667)
    created = queries[5]["created_at"]
    (found,) = world.listing("mdata_queries", mdata_id=4667, from_=created.isoformat(), limit=100)
    assert len(found) == len([row for row in queries if row["created_at"] >= created])


@pytest.mark.parametrize(
    ("endpoint", "rows"),
    [("messages", "messages"), ("sent_messages", "messages"), ("broadcasts", "broadcasts")],
)
def test_lists_that_count_their_pages(
    world: Client, service: MobileCommons, endpoint: str, rows: str
) -> None:
    expected = [row["id"] for row in service.truth(endpoint)]
    first = world.listing(endpoint)
    assert first.tag == rows
    pages = -(-len(expected) // 20)
    assert dict(first.attrib) == {"page": "1", "limit": "20", "page_count": str(pages)}
    assert len(first) == 20
    assert world.all_ids(endpoint, limit=7) == expected
    past = world.listing(endpoint, page=pages + 1)
    assert dict(past.attrib) == {"page": str(pages + 1), "limit": "20", "page_count": str(pages)}
    assert len(past) == 0
    assert world.listing(endpoint, limit=5000).get("limit") == "1000"


def test_page_count_of_nothing_is_0(world: Client) -> None:
    quiet = {"start_time": "2024-03-20", "end_time": "2024-03-21"}
    for endpoint in ("messages", "sent_messages", "broadcasts"):
        assert world.listing(endpoint, **quiet).get("page_count") == "0"


def test_queries_count_their_pages_within_their_mdata(
    world: Client, service: MobileCommons
) -> None:
    count = len(service.truth("mdata_queries", mdata_id=4667))
    mdata = world.listing("mdata_queries", mdata_id=4667, limit=10, page=2)
    assert mdata.tag == "mdata"
    assert dict(mdata.attrib) == {"name": "Polling places", "id": "4667", "type": "database"}
    (queries,) = mdata
    assert queries.tag == "queries"
    pages = str(-(-count // 10))
    assert dict(queries.attrib) == {"page": "2", "limit": "10", "page_count": pages}
    assert len(queries) == 10
    assert world.listing("mdata_queries", mdata_id=4667, limit=1000)[0].get("limit") == "100"
    assert world.listing("mdata_queries", mdata_id=4667)[0].get("limit") == "100"


@pytest.mark.parametrize(
    ("endpoint", "rows", "row", "parent"),
    [
        ("profiles", "profiles", "profile", {}),
        ("campaign_subscribers", "subscriptions", "sub", {"campaign_id": 162603}),
    ],
)
def test_lists_that_only_number_their_rows(
    world: Client,
    service: MobileCommons,
    endpoint: str,
    rows: str,
    row: str,
    parent: dict[str, int],
) -> None:
    expected = [found["id"] for found in service.truth(endpoint, **parent)]
    whole = world.listing(endpoint, **parent, limit=5000)
    assert whole.tag == rows
    assert {child.tag for child in whole} == {row}
    assert dict(whole.attrib) == {"num": str(len(expected)), "page": "1"}
    part = world.listing(endpoint, **parent, limit=10, page=2)
    assert dict(part.attrib) == {"num": "10", "page": "2"}
    assert world.all_ids(endpoint, **parent, limit=10) == expected
    past = world.listing(endpoint, **parent, page=9)
    assert dict(past.attrib) == {"num": "0", "page": "9"}
    assert len(past) == 0


def test_limits_are_clamped_to_the_documented_maximum(sandbox: Open) -> None:
    client = sandbox(empty=True)
    service = service_of(client)
    service.put("campaigns", {"id": 1})
    service.put("groups", {"id": 2})
    service.put("mconnects", {"id": 3})
    for number in range(1, 1102):
        service.put("profiles", {"id": number})
        service.put("subscribers", {"id": number, "campaign_id": 1})
        service.put("calls", {"id": number, "mconnect_id": 3})
        service.put("groups", {"id": number})
        service.add_member(2, number)
    for endpoint, parent in (
        ("profiles", {}),
        ("campaign_subscribers", {"campaign_id": 1}),
        ("group_members", {"group_id": 2}),
        ("groups", {}),
    ):
        assert len(client.listing(endpoint, **parent)) == 1000
        assert len(client.listing(endpoint, **parent, limit=1001)) == 1000
        assert len(client.listing(endpoint, **parent, page=2)) == 101
    assert len(client.root("calls", mconnect_id=3, limit=9999)) == 1000


def test_calls_have_no_envelope(world: Client, service: MobileCommons) -> None:
    count = len(service.truth("calls", mconnect_id=10))
    root = world.root("calls", mconnect_id=10)
    assert root.tag == "calls"
    assert dict(root.attrib) == {"num": str(count), "page": "1"}
    assert {child.tag for child in root} == {"call"}
    past = world.root("calls", mconnect_id=10, page=2)
    assert dict(past.attrib) == {"num": "0", "page": "2"}


def test_group_members_tell_neither_page_nor_number(world: Client, service: MobileCommons) -> None:
    expected = [row["id"] for row in service.truth("group_members", group_id=402704)]
    group = world.listing("group_members", group_id=402704, limit=5)
    assert group.tag == "group"
    assert dict(group.attrib) == {"name": "Import of June", "id": "402704", "type": "UploadedGroup"}
    assert len(group) == 5
    assert world.all_ids("group_members", group_id=402704, limit=5) == expected
    assert set(world.listing("group_members", group_id=402704, page=99).attrib) == {
        "name",
        "id",
        "type",
    }


def test_groups_are_paged_without_saying_so(world: Client, service: MobileCommons) -> None:
    groups = world.listing("groups", limit=3)
    assert dict(groups.attrib) == {}
    assert len(groups) == 3
    assert world.all_ids("groups", limit=3) == [row["id"] for row in service.rows("groups")]


def test_clicks_have_a_page_size_of_their_own(sandbox: Open) -> None:
    client = sandbox(profiles=300, clicks_per_page=10)
    rows = service_of(client).truth("clicks", url_id=8101)
    assert len(rows) > 20
    clicks = client.listing("clicks", url_id=8101, limit=3)
    people = {row["profile_id"] or row["remote_addr"] for row in rows[:10]}
    assert dict(clicks.attrib) == {"num": "10", "unique": str(len(people)), "page": "1"}
    assert client.all_ids("clicks", url_id=8101) == [row["id"] for row in rows]
    past = client.listing("clicks", url_id=8101, page=99)
    assert dict(past.attrib) == {"num": "0", "unique": "0", "page": "99"}


@pytest.mark.parametrize(
    "endpoint", ["campaigns", "keywords", "mconnects", "tinyurls", "tags", "attachments", "mdatas"]
)
def test_single_answers_are_not_paged(world: Client, service: MobileCommons, endpoint: str) -> None:
    element = world.listing(endpoint, limit=1, page=2)
    assert element.tag == endpoint
    assert dict(element.attrib) == {}
    assert [row_id(row) for row in element] == [row["id"] for row in service.rows(endpoint)] != []
