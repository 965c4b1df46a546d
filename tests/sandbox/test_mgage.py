"""The sandbox answers as mGage's page says, over real HTTP, about programs that go on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from tests.conftest import PROJECT
from textlift.sandbox import Request, Response, Sandbox
from textlift.sandbox.mgage import NEWS, MGage, failure

NOW = "2025-06-01T12:00:00Z"
BASIC = ("sandbox@example.org", "sandbox-password")
PROGRAM = 121811
YEAR = timedelta(days=365)
SECOND = timedelta(seconds=1)
SETTLED = {"Received", "Delivered", "Undelivered"}


class Client:
    """Asks a sandbox, and takes its answers apart."""

    def __init__(self, service: MGage, box: Sandbox) -> None:
        self.service = service
        self.box = box
        self.session = requests.Session()
        self.session.auth = BASIC

    def get(self, program: object = PROGRAM, **params: Any) -> requests.Response:
        url = f"{self.box.url}messages/program/{program}"
        return self.session.get(url, params=params, timeout=30)

    def document(self, program: object = PROGRAM, **params: Any) -> dict[str, Any]:
        response = self.get(program, **params)
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        document: dict[str, Any] = response.json()
        assert document["meta"]["generalErrors"] == []
        return document

    def messages(self, program: object = PROGRAM, **params: Any) -> list[dict[str, Any]]:
        """Those of one page of the largest size."""
        document = self.document(program, **{"pageSize": 500, **params})
        messages: list[dict[str, Any]] = document["data"]["messages"]
        return messages

    def pages(self, program: object = PROGRAM, **params: Any) -> list[list[dict[str, Any]]]:
        """Every page, as nextPageUrl leads from one to the next."""
        document = self.document(program, **params)
        pages = [document["data"]["messages"]]
        while url := document["meta"]["nextPageUrl"]:
            document = self.session.get(url, timeout=30).json()
            pages.append(document["data"]["messages"])
        return pages

    def everything(self, program: object = PROGRAM, **params: Any) -> list[dict[str, Any]]:
        pages = self.pages(program, **{"pageSize": 500, **params})
        return [message for page in pages for message in page]

    def error(self, status: int, program: object = PROGRAM, **params: Any) -> str:
        """The one reason of a failure with that status."""
        response = self.get(program, **params)
        assert response.status_code == status, response.text
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        return reason(response)


def reason(response: requests.Response) -> str:
    document = response.json()
    assert document["data"] is None
    assert document["meta"]["nextPageUrl"] is None
    assert set(document) == {"meta", "data"}
    (text,) = document["meta"]["generalErrors"]
    return str(text)


def printed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "date": written(row["date"]) + ".00"} for row in rows]


def written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["body"] for message in messages]


Open = Callable[..., Client]


@pytest.fixture(name="sandbox")
def sandbox_fixture() -> Iterator[Open]:
    """Opens sandboxes, and closes them after the test."""
    boxes: list[Sandbox] = []

    def open_sandbox(**options: Any) -> Client:
        service = MGage(**{"now": NOW, **options})
        boxes.append(Sandbox(service))
        boxes[-1].start()
        return Client(service, boxes[-1])

    yield open_sandbox
    for box in boxes:
        box.close()


@pytest.fixture
def hand_made(sandbox: Open) -> Client:
    """One program, empty."""
    client = sandbox(empty=True)
    client.service.add_program(7, "Spring", "Join us", "Text to Join")
    return client


# --- answers --------------------------------------------------------------------------------------


def test_the_documented_shape(hand_made: Client) -> None:
    hand_made.service.put(
        7,
        {
            "type": "MO",
            "deliveryStatus": "Received",
            "number": "15556667777",
            "body": "This is “complete”\n message Body 👍 ",
            "date": "2024-12-05T10:00:00Z",
            "network": "T-Mobile",
        },
    )
    response = hand_made.get(7)
    assert response.json() == {
        "meta": {"generalErrors": [], "nextPageUrl": None},
        "data": {
            "campaignName": "Spring",
            "programName": "Join us",
            "programType": "Text to Join",
            "messages": [
                {
                    "type": "MO",
                    "deliveryStatus": "Received",
                    "number": "15556667777",
                    "body": "This is “complete”\n message Body 👍 ",
                    "date": "2024-12-05T10:00:00.00",
                    "network": "T-Mobile",
                }
            ],
        },
    }
    assert "“complete”\\n message Body 👍 " in response.content.decode()


def test_half_an_emoji_is_escaped(hand_made: Client) -> None:
    hand_made.service.put(7, {"body": "cut \ud83d"})
    assert b'"cut \\ud83d"' in hand_made.get(7).content
    assert bodies(hand_made.messages(7)) == ["cut \ud83d"]


def test_what_is_served_is_the_truth(sandbox: Open) -> None:
    client = sandbox()
    assert list(client.service.programs) == [121811, 121812, 121813]
    for program, info in client.service.programs.items():
        served = client.service.served(program)
        assert client.everything(program) == printed(served)
        rows = client.service.rows(program)
        assert rows[-len(served) :] == served
        assert all(row["date"] < client.service.now() - YEAR for row in rows[: -len(served)])
        data = client.document(program)["data"]
        assert {key: data[key] for key in info} == info


def test_an_empty_program(hand_made: Client) -> None:
    document = hand_made.document(7)
    assert document["data"]["messages"] == []
    assert document["meta"]["nextPageUrl"] is None


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "size"), [({}, 50), ({"pageSize": 7}, 7), ({"pageSize": 9999}, 500)]
)
def test_sizes_of_pages(sandbox: Open, asked: dict[str, int], size: int) -> None:
    client = sandbox(messages=6000)
    served = printed(client.service.served(PROGRAM))
    assert len(served) > 1000
    pages = client.pages(**asked)
    assert [message for page in pages for message in page] == served
    assert {len(page) for page in pages[:-1]} == {size}
    assert 0 < len(pages[-1]) <= size


def test_a_full_last_page_has_no_next_one(hand_made: Client) -> None:
    for body in "abcd":
        hand_made.service.put(7, {"body": body})
    assert [bodies(page) for page in hand_made.pages(7, pageSize=2)] == [["a", "b"], ["c", "d"]]
    assert [bodies(page) for page in hand_made.pages(7, pageSize=3)] == [["a", "b", "c"], ["d"]]
    assert hand_made.messages(7, pageSize=2, page=3) == []
    assert bodies(hand_made.messages(7, pageSize=2, page=2)) == ["c", "d"]


def test_the_next_url_carries_everything_and_the_host_it_was_asked_by(sandbox: Open) -> None:
    client = sandbox()
    asked = {
        "messageType": "MT",
        "startDate": "2024-07-01T00:00:00",
        "page": "2",
        "endDate": "2025-05-30T00:00:00",
        "pageSize": "9",
        "foo": "b&r",
    }
    port = client.box.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        response = client.session.get(
            f"{client.box.url}messages/program/{PROGRAM}",
            params=asked,
            headers={"Host": host},
            timeout=30,
        )
        url = urlsplit(response.json()["meta"]["nextPageUrl"])
        assert (url.scheme, url.netloc) == ("http", host)
        assert url.path == f"/api/messages/program/{PROGRAM}"
        pairs = parse_qsl(url.query)
        assert len(pairs) == len(asked)
        assert dict(pairs) == {**asked, "page": "3"}


def test_the_next_url_as_a_path(sandbox: Open) -> None:
    client = sandbox(links="relative")
    url = client.document()["meta"]["nextPageUrl"]
    assert url == f"/api/messages/program/{PROGRAM}?page=2"


def test_the_next_url_with_nothing_but_the_page_as_in_the_vendors_sample(sandbox: Open) -> None:
    client = sandbox(links="bare")
    url = client.document(pageSize=3, messageType="MT")["meta"]["nextPageUrl"]
    assert url == f"{client.box.url}messages/program/{PROGRAM}?page=2"


def test_a_start_before_the_year_is_cut_or_if_wanted_refused(sandbox: Open) -> None:
    for refuses_old, status in [(False, 200), (True, 400)]:
        client = sandbox(refuses_old=refuses_old)
        first = client.service.now() - timedelta(days=365)
        before, then = (
            f"{time:%Y-%m-%dT%H:%M:%S}" for time in (first - timedelta(seconds=1), first)
        )
        assert client.get(startDate=before).status_code == status
        assert client.get(startDate=then).status_code == 200


def test_a_hook_can_lead_astray(sandbox: Open) -> None:
    client = sandbox()

    def elsewhere(request: Request, response: Response) -> Response:
        document = json.loads(response.body)
        document["meta"]["nextPageUrl"] = "https://example.org/api/messages/program/1?page=2"
        return Response(response.status, json.dumps(document).encode(), response.headers)

    client.box.hooks.append(elsewhere)
    assert client.document()["meta"]["nextPageUrl"].startswith("https://example.org/")


def test_the_orders(sandbox: Open) -> None:
    up, down = sandbox(), sandbox(order="-date")
    rows = up.everything()
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)
    assert down.everything() == rows[::-1]
    assert down.service.rows(PROGRAM) == up.service.rows(PROGRAM)[::-1]
    assert [len(page) for page in down.pages(pageSize=60)][:-1] == [60] * (len(rows) // 60)
    mo = [row for row in rows if row["type"] == "MO"]
    assert down.everything(messageType="MO") == mo[::-1]


# --- filters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["MO", "MT"])
def test_types(sandbox: Open, type: str) -> None:
    client = sandbox()
    rows = client.everything()
    chosen = [row for row in rows if row["type"] == type]
    assert 0 < len(chosen) < len(rows)
    assert client.everything(messageType=type) == chosen


def test_types_in_windows_asked_for_in_any_order(sandbox: Open) -> None:
    client = sandbox()
    rows = client.service.served(PROGRAM)
    for month in (3, 9, 12, 1, 8, 5):
        start = datetime(2024 + (month < 6), month, 1, tzinfo=timezone.utc)
        end = start + timedelta(days=40)
        window = {"startDate": written(start), "endDate": written(end)}
        for type in ("MT", "MO"):
            expected = [r for r in rows if start <= r["date"] <= end and r["type"] == type]
            assert client.everything(messageType=type, **window) == printed(expected)


def test_both_ends_are_inclusive_to_the_second(sandbox: Open) -> None:
    client = sandbox()
    rows = client.service.served(PROGRAM)
    times = sorted({row["date"] for row in rows})
    first, last = times[20], times[60]

    def found(start: datetime, end: datetime) -> list[dict[str, Any]]:
        return client.everything(startDate=written(start), endDate=written(end))

    def expected(start: datetime, end: datetime) -> list[dict[str, Any]]:
        return printed([row for row in rows if start <= row["date"] <= end])

    assert found(first, last) == expected(first, last)
    inside = found(first + SECOND, last - SECOND)
    assert inside == expected(times[21], times[59])
    assert found(first, first) == expected(first, first) != []
    assert found(first + SECOND, first + SECOND) == []


def test_one_end_alone(sandbox: Open) -> None:
    client = sandbox()
    rows = client.service.served(PROGRAM)
    middle = rows[200]["date"]
    after = client.everything(startDate=written(middle))
    assert after == printed([row for row in rows if row["date"] >= middle])
    before = client.everything(endDate=written(middle))
    assert before == printed([row for row in rows if row["date"] <= middle])


def test_nothing_older_than_a_year_is_served(hand_made: Client) -> None:
    service = hand_made.service
    edge = service.now() - YEAR
    for offset in (-1, 0, 1):
        service.put(7, {"body": str(offset), "date": edge + offset * SECOND})
    assert bodies(hand_made.messages(7)) == ["0", "1"]
    assert bodies(hand_made.messages(7, startDate="2020-01-01T00:00:00")) == ["0", "1"]
    assert bodies(hand_made.messages(7, startDate="0001-01-01T00:00:00")) == ["0", "1"]
    old = {"startDate": "2020-01-01T00:00:00", "endDate": written(edge - SECOND)}
    assert hand_made.messages(7, **old) == []
    service.advance(1)
    assert bodies(hand_made.messages(7)) == ["1"]
    assert bodies(service.served(7)) == ["1"]
    assert bodies(service.rows(7)) == ["-1", "0", "1"]


def test_the_year_ends_for_the_history_too(sandbox: Open) -> None:
    client = sandbox()
    rows = client.service.rows(PROGRAM)
    edge = client.service.now() - YEAR
    assert min(row["date"] for row in rows) < edge - timedelta(days=700)
    served = client.everything(startDate="2015-01-01T00:00:00")
    assert served == printed([row for row in rows if row["date"] >= edge])


def test_an_end_in_the_future(sandbox: Open) -> None:
    client = sandbox()
    assert client.everything(endDate="2030-01-01T00:00:00") == client.everything()
    assert client.messages(startDate="2030-01-01T00:00:00") == []


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"messageType": "mo"}, "messageType"),
        ({"messageType": "BOTH"}, "messageType"),
        ({"messageType": ""}, "messageType"),
        ({"startDate": "2025-01-01"}, "startDate"),
        ({"startDate": "2025-01-01T00:00:00Z"}, "startDate"),
        ({"startDate": "2025-01-01T00:00:00+00:00"}, "startDate"),
        ({"startDate": "2025-01-01T00:00:00.00"}, "startDate"),
        ({"startDate": "2025-13-01T00:00:00"}, "startDate"),
        ({"startDate": "yesterday"}, "startDate"),
        ({"endDate": "2025-01-01T00:00"}, "endDate"),
        ({"endDate": "2025-02-30T00:00:00"}, "endDate"),
        ({"endDate": ""}, "endDate"),
        ({"startDate": "2025-01-01T00:00:01", "endDate": "2025-01-01T00:00:00"}, "after endDate"),
        ({"pageSize": "0"}, "pageSize"),
        ({"pageSize": "-1"}, "pageSize"),
        ({"pageSize": "ten"}, "pageSize"),
        ({"pageSize": "9" * 5000}, "pageSize"),
        ({"page": "0"}, "page"),
        ({"page": "1.5"}, "page"),
    ],
)
def test_rubbish_is_400(sandbox: Open, params: dict[str, str], named: str) -> None:
    assert named in sandbox().error(400, **params)


def test_an_unknown_program_is_404(sandbox: Open) -> None:
    client = sandbox()
    assert client.error(404, 999) == "Program 999 not found"
    assert client.error(404, f"1{'0' * 11}{PROGRAM}")
    assert client.error(400, "abc") == "Invalid program id: abc"
    client.service.delete_program(PROGRAM)
    assert client.error(404) == f"Program {PROGRAM} not found"
    assert PROGRAM not in client.service.programs
    with pytest.raises(KeyError):
        client.service.rows(PROGRAM)


@pytest.mark.parametrize("path", ["", "messages", "messages/program/", "messages/program/1/2"])
def test_unknown_paths_are_404(sandbox: Open, path: str) -> None:
    client = sandbox()
    response = client.session.get(client.box.url + path, timeout=30)
    assert response.status_code == 404
    assert reason(response)


def test_only_the_right_login_is_let_in(sandbox: Open) -> None:
    client = sandbox(username="ana@example.org", password="s3cret: “ü”")
    url = f"{client.box.url}messages/program/{PROGRAM}"
    logins = [None, BASIC, ("ana@example.org", "s3cret")]
    for login in logins:
        response = requests.get(url, auth=login, timeout=30)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
        assert "Authentication" in reason(response)
    bearer = requests.get(url, headers={"Authorization": "Bearer sandbox-token"}, timeout=30)
    assert bearer.status_code == 401
    right = (b"ana@example.org", "s3cret: “ü”".encode())
    assert requests.get(url, auth=right, timeout=30).status_code == 200


def test_only_get(sandbox: Open) -> None:
    client = sandbox()
    response = client.session.post(f"{client.box.url}messages/program/{PROGRAM}", timeout=30)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize("status", [500, 200])
def test_failures_on_demand(sandbox: Open, status: int) -> None:
    client = sandbox()
    client.box.faults.append(lambda request: failure(status, "General server exception"))
    assert client.error(status) == "General server exception"
    client.box.faults.clear()
    assert client.messages()


def test_errors_beside_data(sandbox: Open) -> None:
    client = sandbox()
    client.service.general_errors.append("Some carriers did not answer")
    document = client.get().json()
    assert document["meta"]["generalErrors"] == ["Some carriers did not answer"]
    assert len(document["data"]["messages"]) == 50


# --- the history ----------------------------------------------------------------------------------


def everything(service: MGage) -> dict[int, list[dict[str, Any]]]:
    return {program: service.rows(program) for program in service.programs}


def test_the_same_seed_makes_the_same_world() -> None:
    one, two = MGage(now=NOW), MGage(now=NOW)
    assert everything(one) == everything(two)
    assert everything(one) != everything(MGage(now=NOW, seed=2))


def test_a_restart_later_is_the_same_as_having_waited() -> None:
    waited = MGage(messages=900, now="2024-06-20T00:00:00Z")
    for days in (0.5, 1, 9.25, 30, 100, 400):
        waited.served(PROGRAM)
        waited.advance(days * 86400)
        restarted = MGage(messages=900, now=waited.now())
        assert everything(waited) == everything(restarted)


def test_as_of_a_time_the_same_has_happened_whenever_that_is_asked_for() -> None:
    one = MGage(messages=900, now=NOW, as_of=NOW)
    assert everything(one) == everything(MGage(messages=900, now=NOW))
    apart = timedelta(days=272, seconds=40_001)
    two = MGage(messages=900, now=one.now() + apart, as_of=NOW)
    for days in (0, 1.5, 300):
        for service in (one, two):
            service.advance(days * 86400)
        moved = {
            program: [{**row, "date": row["date"] + apart} for row in rows]
            for program, rows in everything(one).items()
        }
        assert everything(two) == moved
        assert len(one.served(PROGRAM)) == len(two.served(PROGRAM)) > 0


def test_history_stays_and_goes_on() -> None:
    service = MGage(messages=6000, now=NOW)
    before = everything(service)
    now = service.now()
    service.advance(20 * 86400)
    for program, rows in everything(service).items():
        old = [row for row in rows if row["date"] <= now]
        gone = len(before[program]) - len(old)
        assert [core(row) for row in before[program][gone:]] == [core(row) for row in old]
        assert all(row["date"] < rows[0]["date"] for row in before[program][:gone])
        assert len(rows) > len(old)
        assert all(row["date"] <= service.now() for row in rows)


def core(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("type", "number", "body", "date")}


def test_sizes() -> None:
    for size in (0, 1, 600, 30_000):
        service = MGage(messages=size, now=NOW)
        counts = [len(service.rows(program)) for program in service.programs]
        assert sum(counts) == pytest.approx(size, rel=0.05, abs=6)
        assert counts == sorted(counts, reverse=True)
        served = sum(len(service.served(program)) for program in service.programs)
        assert served == pytest.approx(size / 3, rel=0.1, abs=6)
    assert list(MGage(programs=[5, 6], now=NOW).programs) == [5, 6]
    with pytest.raises(ValueError, match="-1 messages"):
        MGage(messages=-1)


def test_statuses_and_networks_move_as_the_clock_does(sandbox: Open) -> None:
    client = sandbox(messages=20_000, now="2025-05-29T20:00:00Z")
    seen: dict[int, list[tuple[str, str | None]]] = {}
    start = client.service.now() - timedelta(days=1)
    window = {"startDate": written(start), "endDate": written(client.service.now())}
    cores = [(row["number"], row["body"], row["date"]) for row in client.everything(**window)]
    for _ in range(300):
        rows = client.messages(**window)
        assert [(row["number"], row["body"], row["date"]) for row in rows] == cores
        for place, row in enumerate(rows):
            states = seen.setdefault(place, [])
            state = (row["deliveryStatus"], row["network"])
            if not states or states[-1] != state:
                states.append(state)
        client.service.advance(600)
    ranks = ["Queued", "Sent", "Delivered", "Undelivered", "Received"]
    for states in seen.values():
        steps = [ranks.index(status) for status, _ in states]
        assert steps == sorted(steps)
        assert states[-1][0] in SETTLED
        networks = [network for _, network in states]
        assert networks == sorted(networks, key=lambda network: network is not None)
    assert any(
        {"Sent", "Delivered"} <= {status for status, _ in states} for states in seen.values()
    )
    assert any(states[0][1] is None and states[-1][1] for states in seen.values())


def test_everything_is_settled_after_two_days() -> None:
    service = MGage(messages=60_000, now=NOW)
    before = service.rows(PROGRAM)
    now = service.now()
    old = [row for row in before if row["date"] <= now - timedelta(days=2)]
    assert {row["deliveryStatus"] for row in old} == SETTLED
    young = [row for row in before[len(old) :] if row["type"] == "MT"]
    assert {"Queued", "Sent"} & {row["deliveryStatus"] for row in young}
    service.advance(2 * 86400)
    after = [row for row in service.rows(PROGRAM) if row["date"] <= now]
    settled = [row for row in after if row["date"] <= now - timedelta(days=2)]
    assert settled == old[-len(settled) :]
    assert {row["deliveryStatus"] for row in after} == SETTLED


def test_incoming_messages_are_received(sandbox: Open) -> None:
    rows = sandbox().service.rows(PROGRAM)
    assert all((row["type"] == "MO") == (row["deliveryStatus"] == "Received") for row in rows)


def test_true_repeats_and_twins() -> None:
    rows = MGage(now=NOW).served(PROGRAM)
    equal = Counter(tuple(row.values()) for row in rows)
    assert any(count > 1 for (type, *_), count in equal.items() if type == "MO")
    assert any(count > 1 for (type, *_), count in equal.items() if type == "MT")
    people: dict[tuple[str, datetime], set[str]] = {}
    for row in rows:
        if row["type"] == "MO":
            people.setdefault((row["body"], row["date"]), set()).add(row["number"])
    assert any(len(numbers) > 1 for numbers in people.values())


def test_repeats_whose_statuses_differ() -> None:
    rows = MGage(messages=20_000, now=NOW).served(PROGRAM)
    statuses: dict[tuple[Any, ...], set[str]] = {}
    for row in rows:
        statuses.setdefault(tuple(core(row).values()), set()).add(row["deliveryStatus"])
    assert any(len(found) > 1 for found in statuses.values())


def test_quiet_weeks_and_a_crowded_hour_in_every_year() -> None:
    service = MGage(messages=6000, now=NOW)
    for _ in range(3):
        for program in service.programs:
            times = [row["date"] for row in service.served(program)]
            gaps = [later - earlier for earlier, later in zip(times, times[1:])]
            assert sum(gap > timedelta(days=13) for gap in gaps) >= 2
            ((_, crowd), (_, second)) = Counter(
                time.replace(minute=0, second=0) for time in times
            ).most_common(2)
            assert 0.13 * len(times) < crowd < 0.2 * len(times)
            assert second < crowd / 3
            ((_, burst),) = Counter(times).most_common(1)
            assert burst > 0.03 * len(times)
        service.advance(200 * 86400)


def test_one_second_can_be_more_than_a_page() -> None:
    for seed in range(3):
        rows = MGage(seed=seed, messages=50_000, now=NOW).served(PROGRAM)
        ((second, burst),) = Counter(row["date"] for row in rows).most_common(1)
        assert burst > 500
        assert {row["body"] for row in rows if row["date"] == second} == {NEWS}


def test_texts_and_numbers() -> None:
    rows = MGage(now=NOW).rows(PROGRAM)
    texts = {row["body"] for row in rows}
    for piece in ("“", "’", "🙌", "\n", "\r\n", "\\", '"'):
        assert any(piece in text for text in texts)
    assert any(text != text.strip() and text.strip() for text in texts)
    assert "" in texts
    numbers = {row["number"] for row in rows}
    assert {len(number) for number in numbers} == {10, 11}
    assert all(number[-7:-4] == "555" for number in numbers)


# --- changes --------------------------------------------------------------------------------------


def test_equal_messages_stay_separate(hand_made: Client) -> None:
    row = {"type": "MT", "number": "12025550101", "body": "hi", "date": "2025-05-01T10:00:00Z"}
    for _ in range(3):
        hand_made.service.put(7, row)
    messages = hand_made.messages(7)
    assert len(messages) == 3
    assert messages[0] == messages[1] == messages[2]
    hand_made.service.update(7, 1, deliveryStatus="Undelivered")
    statuses = [message["deliveryStatus"] for message in hand_made.messages(7)]
    assert statuses == ["Sent", "Undelivered", "Sent"]


def test_what_a_put_message_lacks_is_filled_in(hand_made: Client) -> None:
    hand_made.service.put(7, {"body": "hi", "mood": 3})
    (row,) = hand_made.service.rows(7)
    assert row["date"] == hand_made.service.now()
    assert (row["type"], row["deliveryStatus"], row["network"]) == ("MO", "Received", None)
    (message,) = hand_made.messages(7)
    assert message["mood"] == 3
    with pytest.raises(TypeError, match="date"):
        hand_made.service.put(7, {"date": None})
    with pytest.raises(KeyError, match="no program 8"):
        hand_made.service.put(8, {})
    with pytest.raises(ValueError, match="7 already"):
        hand_made.service.add_program(7)


@pytest.mark.parametrize("order", ["date", "-date"])
def test_put_messages_take_their_place(sandbox: Open, order: str) -> None:
    client = sandbox(order=order)
    service = client.service
    world = service.served(PROGRAM)
    times = [world[9]["date"], world[300]["date"] + SECOND, world[9]["date"], service.now()]
    for place, time in enumerate(times):
        service.put(PROGRAM, {"type": "MT", "body": f"put {place}", "date": time})
    rows = client.everything()
    assert rows == printed(service.served(PROGRAM))
    dates = [row["date"] for row in rows]
    assert dates == sorted(dates, reverse=order == "-date")
    assert [row for row in rows if not row["body"].startswith("put")] == printed(world)
    same = [row["body"] for row in rows if row["date"] == printed(world)[9]["date"]]
    ends = ["put 0", "put 2"]
    assert (same[-2:] if order == "date" else same[:2][::-1]) == ends
    pages = client.pages(pageSize=11)
    assert [row for page in pages for row in page] == rows
    assert client.everything(messageType="MT") == [row for row in rows if row["type"] == "MT"]
    around = {"startDate": written(times[1]), "endDate": written(times[1])}
    assert bodies(client.messages(**around)) == ["put 1"]


@pytest.mark.parametrize("order", ["date", "-date"])
def test_updates_keep_the_place(sandbox: Open, order: str) -> None:
    client = sandbox(order=order)
    service = client.service
    before = service.rows(PROGRAM)
    index = len(before) - 30 if order == "date" else 30
    assert service.update(PROGRAM, index, deliveryStatus="Expired", network="Sprint") == 1
    assert service.update(PROGRAM, index, deliveryStatus="Lost") == 1
    expected = [dict(row) for row in before]
    expected[index].update(deliveryStatus="Lost", network="Sprint")
    assert service.rows(PROGRAM) == expected
    assert client.everything() == printed(service.served(PROGRAM))
    assert "Lost" in [row["deliveryStatus"] for row in client.everything()]
    named = before[index]["number"]
    count = service.update(PROGRAM, lambda row: row["number"] == named, network="New")
    assert count == sum(row["number"] == named for row in before)
    assert [row["network"] == "New" for row in service.rows(PROGRAM)] == [
        row["number"] == named for row in before
    ]
    with pytest.raises(LookupError):
        service.update(PROGRAM, lambda row: False, network="New")
    with pytest.raises(IndexError):
        service.update(PROGRAM, len(before), network="New")


def test_an_update_of_the_type(sandbox: Open) -> None:
    client = sandbox()
    incoming = client.everything(messageType="MO")
    index = client.service.rows(PROGRAM).index(client.service.served(PROGRAM)[9])
    client.service.update(PROGRAM, index, type="MO", body="moved")
    assert "moved" in bodies(client.everything(messageType="MO"))
    assert "moved" not in bodies(client.everything(messageType="MT"))
    client.service.update(PROGRAM, index, type="MT")
    assert "moved" in bodies(client.everything(messageType="MT"))
    assert "moved" not in bodies(client.everything(messageType="MO"))
    assert len(incoming) - len(client.everything(messageType="MO")) in (0, 1)


def test_an_update_of_the_date(sandbox: Open) -> None:
    client = sandbox()
    service = client.service
    before = service.rows(PROGRAM)
    service.update(PROGRAM, -200, body="moved")
    service.update(PROGRAM, -150, date="2025-05-29T23:00:00Z")
    for when in ("2025-05-31T23:00:00Z", "2025-05-30T23:00:00Z"):
        service.update(PROGRAM, lambda row: row["body"] == "moved", date=when)
        rows = service.rows(PROGRAM)
        assert len(rows) == len(before)
        assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)
        (row,) = [row for row in rows if row["body"] == "moved"]
        assert written(row["date"]) + "Z" == when
        assert client.everything() == printed(service.served(PROGRAM))


def test_changes_between_two_calls_are_seen(hand_made: Client) -> None:
    for body in "abc":
        hand_made.service.put(7, {"body": body})
        assert bodies(hand_made.messages(7))[-1] == body


def test_an_updated_message_stays_as_it_is() -> None:
    service = MGage(messages=30_000, now=NOW)
    last = service.rows(PROGRAM)[-1]
    service.update(PROGRAM, -1, deliveryStatus="Queued")
    service.advance(30 * 86400)
    rows = [row for row in service.rows(PROGRAM) if core(row) == core(last)]
    assert "Queued" in [row["deliveryStatus"] for row in rows]


def test_new_messages_come_while_pages_are_read(sandbox: Open) -> None:
    client = sandbox(order="-date")
    first = client.document(pageSize=5)
    before = client.service.served(PROGRAM)
    client.service.put(PROGRAM, {"body": "late"})
    second = client.session.get(first["meta"]["nextPageUrl"], timeout=30).json()
    assert second["data"]["messages"][0] == printed(before)[4] == first["data"]["messages"][-1]


# --- the clock and the command --------------------------------------------------------------------


def test_the_clock() -> None:
    service = MGage()
    assert abs(service.now() - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert service.served(PROGRAM)
    with pytest.raises(ValueError, match="now="):
        service.advance(1)
    with pytest.raises(ValueError, match="forward"):
        MGage(now=NOW).advance(-1)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="-date"):
        MGage(order="id")


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "textlift", "sandbox", "mgage", "--port", "0", *arguments],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command() -> None:
    options = ("--messages", "300", "--now", NOW, "--order=-date", "--exit-with-stdin")
    with run(*options) as process:
        assert process.stdin
        assert process.stdout
        name, _, url = process.stdout.readline().strip().partition(": ")
        assert name == "mGage sandbox"
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/api/")
        line = process.stdout.readline()
        assert all(word in line for word in ("121811, 121812, 121813", *BASIC))
        answer = requests.get(
            f"{url}messages/program/{PROGRAM}?pageSize=500", auth=BASIC, timeout=30
        )
        served = MGage(messages=300, now=NOW, order="-date").served(PROGRAM)
        assert answer.json()["data"]["messages"] == printed(served)
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profiles", "5"), "unrecognized arguments: --profiles 5"),
        (("--order", "id"), "no order 'id'"),
        (("--now", "tomorrow"), "not an ISO-8601 time"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], message: str) -> None:
    with run(*arguments) as process:
        assert process.wait(30) == 2
        assert process.stderr
        assert message in process.stderr.read()
