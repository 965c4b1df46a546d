"""TextMe: what is requested, and what becomes of the answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb as duckdb_client
import pytest

from tests.conftest import PASSWORD, TODAY, TOKEN, USERNAME, Warehouse, leaks
from tests.support.truth import comparable
from textlift.cli import main
from textlift.errors import ConfigurationError, CredentialsError
from textlift.load.report import report_of
from textlift.sandbox import Request, Response, Sandbox, rehearse
from textlift.sandbox.textme import CAMPAIGNS, TextMe, failure
from textlift.textme import TextMeCredentials, textme_source
from textlift.textme.endpoints import ENDPOINTS

Row = dict[str, Any]
Open = Callable[..., Warehouse]


@pytest.fixture
def opened(tmp_path: Path, boxes: list[Sandbox]) -> Open:
    """Return a function that opens a TextMe sandbox and an empty warehouse for it."""

    def open_account(**options: Any) -> Warehouse:
        boxes.append(Sandbox(TextMe(**{"now": TODAY, "people": 60, **options})))
        boxes[-1].start()
        return Warehouse(boxes[-1], tmp_path, "textme", textme_source)

    return open_account


@pytest.fixture
def empty(opened: Open) -> Warehouse:
    """Return the warehouse of an account without campaigns."""
    return opened(empty=True)


def service_of(warehouse: Warehouse) -> TextMe:
    service = warehouse.box.service
    assert isinstance(service, TextMe)
    return service


def paths(warehouse: Warehouse) -> list[str]:
    """The calls so far, without the common parts of their paths."""
    return [re.sub(r"^(api|app)/|\.xml$", "", call.endpoint) for call in warehouse.box.requests]


def put_campaign(warehouse: Warehouse, id: int, type: str, **values: Any) -> None:
    service_of(warehouse).put("campaigns", {"id": id, "campaign_type": type, **values})


def put_participants(warehouse: Warehouse, campaign: int, count: int) -> list[int]:
    """Put participants into a campaign, and return their keys."""
    service = service_of(warehouse)
    return [
        service.put(
            "participants",
            {
                "campaign_id": campaign,
                "created_at": f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z",
                "user": {"mobile_phone": f"202555{number:04}"},
            },
        )
        for number in range(count)
    ]


# What is loaded


def expected(service: TextMe, accounts: set[int]) -> dict[str, list[Row]]:
    """The tables by the rows of the sandbox, without computed keys."""

    def flat(row: Row) -> Row:
        return {**{k: v for k, v in row.items() if k != "user"}, **row.get("user", {})}

    def of(kind: str, type: str) -> list[Row]:
        ids = {
            row["id"]
            for row in campaigns
            if row["campaign_type"] == type and row["status"] != "deleted"
        }
        return [flat(row) for row in service.rows(kind).values() if row["campaign_id"] in ids]

    campaigns = [row for row in service.rows("campaigns").values() if row["account_id"] in accounts]
    votes = of("vote_campaigns", "VOTE")
    options = [
        {**option, "vote_campaign_id": row["vote_campaign_id"]}
        for row in votes
        for option in row["vote_campaign_options"]
    ]
    return {
        "accounts": [
            {**row, "timezone__code": row["timezone"]["code"]}
            for row in service.rows("accounts").values()
        ],
        "carriers": list(service.rows("carriers").values()),
        "campaigns": campaigns,
        "timed_campaigns": of("timed_campaigns", "TIMED"),
        "timed_campaign_participants": of("participants", "TIMED"),
        "subscriptions": of("subscriptions", "SUB"),
        "vote_campaigns": [{**row, "id": row["vote_campaign_id"]} for row in votes],
        "vote_campaigns__options": options,
        "vote_campaigns__options__aliases": [
            {
                "vote_campaign_id": option["vote_campaign_id"],
                "option_keyword": option["option_keyword"],
                "alias": alias,
            }
            for option in options
            for alias in option.get("option_aliases", ())
        ],
    }


@pytest.mark.parametrize("accounts", [None, [10, 11, 12]])
def test_every_table_is_what_the_service_lists(opened: Open, accounts: list[int] | None) -> None:
    warehouse = opened(people=300)
    summary = warehouse.load(accounts=accounts)
    assert (summary.failed, summary.rejected) == ({}, 0)
    wanted = expected(service_of(warehouse), set(accounts or [10]))
    with warehouse.reading():
        assert warehouse.tables() == {*wanted, "rejected_records"}
        for table, rows in wanted.items():
            names = [
                name
                for name in warehouse.columns(table)
                if not (name.startswith("_") or name in ("participant_key", "subscription_key"))
            ]
            # The sandbox has dates as text.
            columns = [f"{name}::VARCHAR" if name == "birthday_on" else name for name in names]
            found = warehouse.query(f"SELECT {', '.join(columns)} FROM {table}")
            loaded = [dict(zip(names, row)) for row in found]
            assert comparable(loaded, names) == comparable(rows, names), table
            assert rows, table


def test_campaigns_of_every_status_are_loaded_once(opened: Open) -> None:
    warehouse = opened()
    warehouse.load("campaigns", concurrency=1)
    assert [call.params for call in warehouse.box.requests] == [{}, {"status": "deleted"}]
    found = dict(warehouse.query("SELECT id, status FROM campaigns"))
    assert found == {id: status for id, account, _, status, *_ in CAMPAIGNS if account == 10}
    assert set(found.values()) == {"active", "future", "past", "deleted"}


def test_a_campaign_in_both_lists_is_loaded_once_as_the_later_one_has_it(opened: Open) -> None:
    warehouse = opened()

    def delete(request: Request, response: Response) -> None:
        if request.endpoint == "api/campaigns.xml" and not request.params:
            service_of(warehouse).update("campaigns", 4, status="deleted")

    warehouse.box.hooks.append(delete)
    warehouse.load("campaigns", concurrency=1)
    assert warehouse.query("SELECT status FROM campaigns WHERE id = 4") == [("deleted",)]


def test_statuses_and_accounts_can_be_chosen(opened: Open) -> None:
    warehouse = opened()
    statuses = ["active", "past"]
    warehouse.load("campaigns", accounts=[12, "10"], campaign_statuses=statuses, concurrency=1)
    ids = {"accounts": "12,10"}
    assert [call.params for call in warehouse.box.requests] == [
        {**ids, "status": "active"},
        {**ids, "status": "past"},
    ]
    found = warehouse.query("SELECT DISTINCT account_id, status FROM campaigns ORDER BY ALL")
    assert found == [(10, "active"), (10, "past"), (12, "active")]


@pytest.mark.parametrize("accounts", [["ten"], [0], [1.5]])
def test_an_account_that_is_no_id_is_refused(accounts: list[Any]) -> None:
    with pytest.raises(ConfigurationError, match="accounts is no id"):
        textme_source(accounts=accounts)


# Which calls are made


def test_the_type_of_a_campaign_decides_which_calls_to_make(opened: Open) -> None:
    warehouse = opened()
    warehouse.load()
    assert Counter(paths(warehouse)) == Counter(
        [
            *("accounts", "carriers", "campaigns", "campaigns"),
            *("timed_campaigns/5", "timed_campaigns/6"),
            *("timed_campaigns/5/participants",) * 2,
            "timed_campaigns/6/participants",
            *(f"subscription_campaigns/{id}/subscriptions" for id in (3, 4)),
            "vote_campaigns/7",
        ]
    )
    assert {key for call in warehouse.box.requests for key in call.params} <= {"status", "page"}


@pytest.mark.parametrize("status", [404, 422])
def test_a_campaign_that_vanishes_is_a_warning(
    opened: Open, status: int, log: pytest.LogCaptureFixture
) -> None:
    warehouse = opened()
    warehouse.box.faults.append(
        lambda call: failure(status, "No user found for 2025550123") if "/4/" in call.path else None
    )
    summary = warehouse.load("subscriptions")
    assert (summary.failed, summary.missing, summary.rejected) == ({}, [], 0)
    warnings = [one.getMessage() for one in log.records if one.levelname == "WARNING"]
    expected = f"subscriptions, campaign_id 4, page 1: HTTP {status}: No user found for …; "
    assert [one for one in warnings if "campaign_id 4" in one] == [
        f"{expected}it has no rows to load"
    ]
    assert warehouse.query("SELECT DISTINCT campaign_id FROM subscriptions") == [(3,)]


# Participants and subscribers


@pytest.mark.parametrize("count", [0, 1, 249, 250, 251, 600])
def test_participants_are_read_in_pages_of_250_until_a_short_one(
    empty: Warehouse, count: int
) -> None:
    put_campaign(empty, 1, "TIMED")
    put_participants(empty, 1, count)
    assert empty.load("timed_campaign_participants", concurrency=1).failed == {}
    [(rows, phones)] = empty.query(
        "SELECT count(*), count(DISTINCT mobile_phone) FROM timed_campaign_participants"
    )
    assert (rows, phones) == (count, count)
    pages = [call.params for call in empty.box.requests if "participants" in call.path]
    full, last = divmod(count, 250)
    # The page behind the first short one shows that short pages end a list here. Then all pages but
    # the last are read again.
    behind = full + 2 if last else full + 1
    again = full if last else max(0, full - 1)
    numbers = [*range(1, behind + 1), *range(1, again + 1)]
    assert pages == [{"page": str(number)} for number in numbers]


def test_a_short_page_ends_a_list_once_another_list_has_ended_so(empty: Warehouse) -> None:
    for campaign, count in ((1, 40), (2, 30), (3, 20)):
        put_campaign(empty, campaign, "TIMED")
        put_participants(empty, campaign, count)
    empty.load("timed_campaign_participants", concurrency=1)
    pages = [call.params["page"] for call in empty.box.requests if "participants" in call.path]
    assert pages == ["1", "2", "1", "1"]


@pytest.mark.parametrize(
    ("resource", "kind", "type"),
    [
        ("timed_campaign_participants", "participants", "TIMED"),
        ("subscriptions", "subscriptions", "SUB"),
    ],
)
def test_a_person_who_left_is_gone_also_the_last_one(
    empty: Warehouse, resource: str, kind: str, type: str
) -> None:
    put_campaign(empty, 1, type)
    service = service_of(empty)
    keys = [
        service.put(kind, {"campaign_id": 1, "user": {"mobile_phone": f"202555010{n}"}})
        for n in (1, 2)
    ]
    phones = f"SELECT mobile_phone FROM {resource} ORDER BY ALL"
    empty.load()
    assert empty.query(phones) == [("2025550101",), ("2025550102",)]
    service.delete(kind, keys[0])
    empty.load()
    assert empty.query(phones) == [("2025550102",)]
    service.delete(kind, keys[1])
    empty.load()
    assert empty.query(phones) == []


def test_equal_rows_stay_apart_and_a_confirmation_changes_no_key(empty: Warehouse) -> None:
    put_campaign(empty, 1, "SUB")
    service = service_of(empty)
    row = {"campaign_id": 1, "opt_in_at": "2026-01-01T00:00:00Z"}
    keys = [
        service.put("subscriptions", {**row, "user": {"mobile_phone": "2025550101"}}),
        service.put("subscriptions", {**row, "user": {"mobile_phone": "2025550101"}}),
        service.put("subscriptions", {**row, "user": {"mobile_phone": "2025550102"}}),
    ]
    query = "SELECT subscription_key FROM subscriptions ORDER BY ALL"
    empty.load()
    before = empty.query(query)
    assert len({*before}) == 3
    service.update("subscriptions", keys[1], confirmed_at="2026-01-02T00:00:00Z")
    empty.load()
    assert empty.query(query) == before
    confirmed = "SELECT count(*) FROM subscriptions WHERE confirmed_at = '2026-01-02'"
    assert empty.query(confirmed) == [(1,)]


# Values


def test_values_are_read_as_rails_prints_them(empty: Warehouse) -> None:
    put_campaign(empty, 1, "SUB")
    put_campaign(empty, 2, "TIMED")
    text = "An opt-in message that is too long for one line, so that it stands on a line of its own"
    service_of(empty).put(
        "timed_campaigns", {"campaign_id": 2, "id": 9, "opt_in_sms_message": text}
    )
    user = {"mobile_phone": "2025550101", "birthday_on": "1980-02-29", "nick_name": "Jo"}
    row = {"campaign_id": 1, "opt_in_at": "2008-10-01T04:19:17Z", "user": user, "opt_out_on": None}
    service_of(empty).put("subscriptions", row)
    summary = empty.load()
    assert (summary.failed, summary.rejected) == ({}, 0)
    [(opt_in, birthday, nick)] = empty.query(
        "SELECT opt_in_at::VARCHAR, birthday_on::VARCHAR, user__nick_name FROM subscriptions"
    )
    assert (opt_in, birthday, nick) == ("2008-10-01 04:19:17+00", "1980-02-29", "Jo")
    # Neither type nor nil is a column, and an undeclared element is one also without a value.
    undeclared = {*empty.columns("subscriptions")} - {*declared("subscriptions")}
    assert undeclared == {"user__nick_name", "opt_out_on", "subscription_key", "_dlt_load_id"}
    assert {*empty.columns("timed_campaigns")} == {*declared("timed_campaigns"), "_dlt_load_id"}
    messages = "SELECT opt_in_sms_message, opt_out_sms_message FROM timed_campaigns"
    assert empty.query(messages) == [(text, None)]


def declared(name: str) -> list[str]:
    return [*next(endpoint for endpoint in ENDPOINTS if endpoint.name == name).columns]


# Access


def test_an_account_without_the_carrier_feature_gets_a_note_and_nothing_fails(opened: Open) -> None:
    warehouse = opened()
    warehouse.load()
    service_of(warehouse).has_carriers = False
    summary = warehouse.load()
    assert (summary.failed, summary.rejected) == ({}, 0)
    [note] = summary.notes
    assert note.startswith("carriers: the account does not have it: carriers, page 1: ")
    assert "(HTTP 401): You do not have permission to access this data" in note
    # What was loaded when it had the feature stays.
    assert warehouse.query("SELECT count(*) FROM carriers") == [(4,)]
    outcome = "SELECT outcome FROM load_runs WHERE resource = 'carriers' ORDER BY started_at"
    assert warehouse.query(outcome) == [("loaded",), ("skipped",)]


def test_a_bare_pipeline_loads_the_rest_without_the_carrier_feature(opened: Open) -> None:
    warehouse = opened(has_carriers=False)
    source = warehouse.source()
    warehouse.pipeline().run(source)
    assert "the account does not have it" in str(report_of(source.carriers).note)
    assert "carriers" not in warehouse.tables()
    assert warehouse.query("SELECT count(*) > 0 FROM subscriptions") == [(True,)]


def test_denied_access_to_anything_else_costs_that_resource(opened: Open) -> None:
    warehouse = opened()
    warehouse.box.faults.append(lambda call: failure(401) if "vote" in call.path else None)
    summary = warehouse.load()
    assert [*summary.failed] == ["vote_campaigns"]
    assert summary.notes == []


def test_a_token_goes_into_its_header_and_nowhere_else(opened: Open) -> None:
    warehouse = opened()
    warehouse.load("accounts", credentials=TextMeCredentials(token=TOKEN))
    [call] = warehouse.box.requests
    assert call.headers["api_token"] == TOKEN
    assert "authorization" not in call.headers
    assert TOKEN not in str(call.query)


def test_a_token_that_the_service_does_not_accept_over_http_is_refused(opened: Open) -> None:
    warehouse = opened(requires_https=True)
    with pytest.raises(CredentialsError, match="HTTP 403") as refused:
        warehouse.load(credentials=TextMeCredentials(token=TOKEN))
    assert "API tokens are accepted over https only" in str(refused.value)
    assert "check sources.textme.credentials" in str(refused.value)
    assert leaks(str(refused.value)) == []


def test_a_token_is_not_sent_over_plain_http_to_another_machine() -> None:
    with pytest.raises(ConfigurationError, match="plain http"):
        textme_source(TextMeCredentials(token=TOKEN), base_url="http://www.textme.net")


# Answers that are no data


@pytest.mark.parametrize(
    "body",
    [
        b"<error><request>/api/accounts.xml</request><message>Sorry</message></error>",
        b"<campaigns type='array'></campaigns>",
        b"<accounts>Sorry</accounts>",
        b"",
        b"Sorry",
    ],
    ids=["an error", "another list", "text", "nothing", "no XML"],
)
def test_an_answer_without_the_list_is_tried_again_and_empties_no_table(
    opened: Open, body: bytes
) -> None:
    warehouse = opened()
    warehouse.load("accounts")
    warehouse.box.requests.clear()
    warehouse.box.faults.append(lambda call: Response(200, body))
    assert [*warehouse.load("accounts").failed] == ["accounts"]
    assert len(warehouse.box.requests) == 5
    assert warehouse.query("SELECT count(*) FROM accounts") == [(3,)]


@pytest.mark.parametrize("kind", ["broken", "control", "invalid-utf8", "bad-time"])
def test_one_bad_record_costs_itself(opened: Open, kind: str) -> None:
    warehouse = opened()
    rehearse(warehouse.box, f"{kind}@api/subscription_campaigns/3/subscriptions.xml")
    summary = warehouse.load("subscriptions", "accounts")
    assert summary.failed == {}
    assert summary.rejections == {"subscriptions": 1}
    wanted = len(expected(service_of(warehouse), {10})["subscriptions"])
    [(count,)] = warehouse.query("SELECT count(*) FROM subscriptions")
    assert count == wanted - (kind != "bad-time")


# The command


@pytest.fixture
def at_sandbox(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Warehouse]:
    """Yield an account that the command loads from, in an empty folder."""
    warehouse = opened()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCES__TEXTME__BASE_URL", warehouse.box.url)
    yield warehouse


def test_the_command_describes_the_accounts(
    at_sandbox: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "textme"]) == 0
    printed = capsys.readouterr().out
    assert "account 10: 'Tenants & Neighbors'\n" in printed
    assert "TextMe: the credentials are accepted." in printed


def test_the_command_says_where_wrong_credentials_are_set(
    at_sandbox: Warehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__TEXTME__CREDENTIALS__PASSWORD", "wrong")
    assert [main(["check", "textme"]), main(["load", "textme"])] == [2, 2]
    printed = capsys.readouterr().err
    assert printed.count("heck sources.textme.credentials") == 2
    assert leaks(printed, USERNAME, PASSWORD) == []


def test_a_load_without_carriers_ends_with_0(
    at_sandbox: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    service_of(at_sandbox).has_carriers = False
    assert main(["load", "textme"]) == 0
    assert "carriers: the account does not have it" in capsys.readouterr().out
    with duckdb_client.connect("textlift.duckdb", read_only=True) as connection:
        query = "SELECT count(*) FROM textme.campaigns"
        assert connection.execute(query).fetchall() == [(8,)]
