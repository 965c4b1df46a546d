"""What tests can change in the sandbox."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.support.clients import Open, everything, row_id, service_of, time
from textlift.sandbox.mcommons import ROUTES, MobileCommons


def test_an_empty_world(sandbox: Open) -> None:
    client = sandbox(empty=True)
    assert all(rows == [] for rows in everything(service_of(client)).values())
    errors = {
        "calls": 15,
        "call_count": 15,
        "clicks": 20,
        "mdata_queries": 9,
        "mdata_entries": 9,
        "campaign_subscribers": 1,
        "group_members": 6,
    }
    parents = {
        "mconnect_id": 10,
        "url_id": 8101,
        "mdata_id": 4667,
        "group_id": 402704,
    }
    for endpoint in ROUTES:
        if endpoint in errors:
            campaign = {"campaign_id": 162603} if endpoint == "campaign_subscribers" else {}
            assert client.error(endpoint, **parents, **campaign)[0] == errors[endpoint]
        elif endpoint != "donation_summary":
            assert len(client.listing(endpoint)) == 0


def test_a_world_without_profiles_has_campaigns_all_the_same(sandbox: Open) -> None:
    client = sandbox(profiles=0)
    assert len(client.listing("campaigns", include_opt_in_paths=1)) == 6
    for endpoint in ("profiles", "messages", "sent_messages", "broadcasts"):
        assert len(client.listing(endpoint)) == 0
    assert len(client.listing("campaign_subscribers", campaign_id=162603)) == 0
    assert len(client.listing("group_members", group_id=402704)) == 0
    assert len(client.root("calls", mconnect_id=10)) == 0


def test_put_and_what_belongs_to_it(sandbox: Open) -> None:
    client = sandbox(empty=True)
    service = service_of(client)
    service.put("mconnects", {"id": 10, "name": "Call"})
    service.put("calls", {"id": 1, "mconnect_id": 10, "end_time": "2025-01-01T00:00:00Z"})
    service.put("calls", {"id": 2, "mconnect_id": 11})
    assert [row_id(call) for call in client.root("calls", mconnect_id=10)] == [1]
    service.put("tinyurls", {"id": 5, "host": "lil.example.org", "key": "x"})
    service.put("clicks", {"id": 6, "tinyurl_id": 5})
    assert client.ids("clicks", url_id=5) == [6]
    service.put("campaigns", {"id": 7, "opt_in_paths": [{"id": 8, "active": True}]})
    service.put("subscribers", {"id": 9, "campaign_id": 7})
    assert client.ids("campaign_subscribers", campaign_id=7) == [9]
    service.put("mdatas", {"id": 3, "entries": [{"input": "a", "output": "b"}]})
    service.put("mdata_queries", {"id": 4, "mdata_id": 3, "input": "?"})
    assert len(client.listing("mdata_queries", mdata_id=3)[0]) == 1
    assert len(client.listing("mdata_entries", mdata_id=3, input="a")[0]) == 1
    service.put("outgoing_messages", {"id": 1, "campaign": {"id": 7, "active": True, "name": "C"}})
    assert client.ids("sent_messages", campaign_id=7) == [1]


def test_put_replaces_and_fills_in(sandbox: Open) -> None:
    client = sandbox(empty=True)
    service = service_of(client)
    service.put("profiles", {"id": 2, "first_name": "Two", "address": {"city": "Boston"}})
    service.put("profiles", {"id": 1})
    service.put("profiles", {"id": 2, "last_name": "Second"})
    rows = service.rows("profiles")
    assert [row["id"] for row in rows] == client.ids("profiles") == [1, 2]
    assert (rows[1]["first_name"], rows[1]["last_name"]) == (None, "Second")
    assert rows[1]["updated_at"] == rows[1]["created_at"] == service.now()
    assert rows[1]["address"]["city"] is None
    with pytest.raises(TypeError, match="id"):
        service.put("profiles", {"first_name": "Nobody"})
    with pytest.raises(KeyError, match="profiles, incoming_messages"):
        service.put("people", {"id": 1})


def test_times_can_be_given_as_text(sandbox: Open) -> None:
    client = sandbox(empty=True)
    service = service_of(client)
    service.put("profiles", {"id": 1, "updated_at": "2025-01-01"})
    assert service.rows("profiles")[0]["updated_at"] == time("2025-01-01")
    service.update("profiles", 1, updated_at="2025-02-01T00:00:00+01:00", created_at="long ago")
    assert client.ids("profiles", from_="2025-01-31T23:00:00Z", to="2025-01-31T23:00:00Z") == [1]
    assert client.listing("profiles")[0].findtext("created_at") == "long ago"


def test_times_of_other_zones_are_printed_in_utc(sandbox: Open) -> None:
    client = sandbox(empty=True)
    eastern = datetime(2025, 1, 1, 20, 0, 0, 999, tzinfo=timezone(timedelta(hours=-5)))
    naive = datetime(2025, 1, 2, 3, 4, 5)
    service_of(client).put(
        "profiles",
        {"id": 1, "updated_at": eastern, "created_at": naive, "badge": {"given_at": eastern}},
    )
    (profile,) = client.listing("profiles")
    assert profile.findtext("updated_at") == "2025-01-02 01:00:00 UTC"
    assert profile.findtext("created_at") == "2025-01-02 03:04:05 UTC"
    assert profile.findtext("badge/given_at") == "2025-01-02 01:00:00 UTC"


def test_a_row_without_a_time_is_in_no_window(sandbox: Open) -> None:
    client = sandbox(empty=True)
    service = service_of(client)
    service.put("broadcasts", {"id": 1, "status": "draft"})
    service.update("broadcasts", 1, delivery_time=None)
    assert client.ids("broadcasts") == client.ids("broadcasts", status="draft") == [1]
    assert client.ids("broadcasts", start_time="2000-01-01") == []


def test_update_changes_some_values_and_updated_at(sandbox: Open) -> None:
    client = sandbox(profiles=30)
    service = service_of(client)
    old = service.rows("profiles")[3]
    service.update("profiles", old["id"], address__city="Nowhere & Co.", first_name="New")
    new = service.rows("profiles")[3]
    address = {**old["address"], "city": "Nowhere & Co."}
    assert new == {**old, "first_name": "New", "address": address, "updated_at": service.now()}
    element = client.listing("profiles")[3]
    assert element.findtext("address/city") == "Nowhere & Co."
    then = time("2025-01-01")
    service.update("profiles", old["id"], updated_at=then)
    assert service.rows("profiles")[3]["updated_at"] == then
    assert old["id"] in client.ids("profiles", from_="2025-01-01", to="2025-01-01")
    with pytest.raises(KeyError, match="no row 5"):
        service.update("profiles", 5, first_name="Nobody")


def test_an_update_between_pages_moves_rows_up(sandbox: Open) -> None:
    client = sandbox(profiles=40)
    service = service_of(client)
    until = "2025-01-01"
    everybody = client.ids("profiles", to=until)
    first = client.ids("profiles", to=until, limit=10)
    service.update("profiles", first[0])
    second = client.ids("profiles", to=until, limit=10, page=2)
    assert second[0] == everybody[11]


def test_delete(sandbox: Open) -> None:
    client = sandbox(profiles=50)
    service = service_of(client)
    ids = client.ids("profiles")
    service.delete("profiles", ids[4])
    assert client.ids("profiles") == ids[:4] + ids[5:]
    with pytest.raises(KeyError):
        service.delete("profiles", ids[4])


@pytest.mark.parametrize(
    ("kind", "endpoint", "parameter", "error"),
    [
        ("campaigns", "campaign_subscribers", "campaign_id", 1),
        ("groups", "group_members", "group_id", 6),
        ("mdatas", "mdata_queries", "mdata_id", 9),
        ("mconnects", "calls", "mconnect_id", 15),
        ("tinyurls", "clicks", "url_id", 20),
    ],
)
def test_a_deleted_parent_has_no_rows_to_ask_for(
    sandbox: Open, kind: str, endpoint: str, parameter: str, error: int
) -> None:
    client = sandbox(profiles=50)
    id = client.ids(kind)[1]
    assert client.root(endpoint, **{parameter: id}).get("success") != "false"
    service_of(client).delete(kind, id)
    assert client.error(endpoint, **{parameter: id})[0] == error
    assert id not in client.ids(kind)


def test_members(sandbox: Open) -> None:
    client = sandbox(profiles=50)
    service = service_of(client)
    group = service.rows("groups")[0]
    members = client.ids("group_members", group_id=group["id"])
    outside = next(id for id in client.ids("profiles") if id not in members)
    service.add_member(group["id"], outside)
    service.remove_member(group["id"], members[0])
    now = client.ids("group_members", group_id=group["id"])
    assert set(now) == {*members[1:], outside}
    assert service.rows("groups")[0]["size"] == len(members)
    service.delete("profiles", outside)
    assert set(client.ids("group_members", group_id=group["id"])) == set(members[1:])
    with pytest.raises(KeyError):
        service.add_member(5, members[0])


def test_what_nobody_foresaw_is_printed(sandbox: Open) -> None:
    client = sandbox(profiles=20)
    service = service_of(client)
    id = client.ids("profiles")[0]
    service.update(
        "profiles",
        id,
        **{
            "nickname": "Jo",
            "@verified": True,
            "address__district": {"@code": 7, "name": "East"},
            "badges": [{"name": "Gold", "@level": 3}, {"name": "Silver"}],
            "scores": [1, 2],
            "seen_at": time("2025-01-02T03:04:05Z"),
        },
    )
    profile = client.listing("profiles")[0]
    assert dict(profile.attrib) == {"id": str(id), "verified": "true"}
    assert profile.findtext("nickname") == "Jo"
    district = profile.find("address/district")
    assert (district.get("code"), district.findtext("name")) == ("7", "East")
    badges = profile.find("badges")
    assert [(each.tag, each.get("level"), each.findtext("name")) for each in badges] == [
        ("badge", "3", "Gold"),
        ("badge", None, "Silver"),
    ]
    assert [score.text for score in profile.findall("scores/score")] == ["1", "2"]
    assert profile.findtext("seen_at") == "2025-01-02 03:04:05 UTC"


def test_a_change_of_a_profile_shows_in_its_messages(sandbox: Open) -> None:
    client = sandbox(profiles=20)
    message = client.listing("messages")[0]
    id = int(message.findtext("profile"))
    service_of(client).update("profiles", id, first_name="Changed")
    assert client.listing("messages")[0].findtext("profile[@id]/first_name") == "Changed"
    service_of(client).delete("profiles", id)
    assert len(client.listing("messages")[0].findall("profile")) == 1


def test_truth_needs_a_parent_it_knows(service: MobileCommons) -> None:
    assert len(service.truth("calls")) == len(service.rows("calls"))
    with pytest.raises(TypeError, match="mconnect_id"):
        service.truth("profiles", mconnect_id=1)
