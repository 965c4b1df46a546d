"""Record the cassettes: ``python cassettes/record.py --help``.

A cassette holds the HTTP traffic of loading a resource: each request (method, URL, headers) and its
response. Cassettes are recorded from the sandboxes, with a few rows of each kind. Recording again
changes a cassette only if the traffic has changed. README.md says how to record a live service, and
what to check before sharing such a cassette.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import dlt
import vcr
import yaml
from dlt.extract import DltSource
from vcr.request import Request

from textlift.extract.sync import SyncContext
from textlift.mcommons import MobileCommonsCredentials, mcommons_source
from textlift.mcommons.endpoints import ENDPOINTS
from textlift.mcommons.settings import BASE_URL as MCOMMONS_URL
from textlift.messangi import MessangiCredentials, messangi_source
from textlift.mgage import MGageCredentials, mgage_source
from textlift.mgage.settings import BASE_URL as MGAGE_URL
from textlift.mobiniti import MobinitiCredentials, mobiniti_source
from textlift.mobiniti.settings import BASE_URL as MOBINITI_URL
from textlift.sandbox import Response, Sandbox
from textlift.sandbox.mcommons import MobileCommons
from textlift.sandbox.messangi import Messangi
from textlift.sandbox.mgage import MGage, failure
from textlift.sandbox.mobiniti import Mobiniti
from textlift.sandbox.textme import TextMe
from textlift.textme import TextMeCredentials, textme_source
from textlift.textme.endpoints import ENDPOINTS as TEXTME_ENDPOINTS
from textlift.textme.source import BASE_URL as TEXTME_URL

#: The fixed time of the sandboxes.
NOW = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)
LOGIN = {"username": "sandbox@example.org", "password": "sandbox-password"}
#: Settings for all resources of Mobile Commons. Without them, the responses would change.
SETTINGS: dict[str, Any] = {"start_date": "2024-01-01", "until": "2025-06-01T12:00:00Z"}
#: Additional settings of a resource.
FURTHER: dict[str, dict[str, Any]] = {
    # A first load reads each campaign completely. Only a load with a range has windows.
    "campaign_subscribers": {"since": "2024-01-01"},
    "donation_summaries": {"fundraising_ids": [501]},
    "mdata_entries": {"mdata_entries": [{"mdata_id": 4667, "input": "94401"}]},
}
#: The rows of the small account by table, and the members of its groups.
ACCOUNT = HERE / "account.yaml"
COMPANY = "COSANDBOX00000000000000000000000001"
FILTERED = "FILTERED"
#: The only headers that are kept, of a request and of a response.
REQUEST_HEADERS = {"accept", "accept-encoding"}
RESPONSE_HEADERS = {"content-type"}

#: The end of a signed path: a public key and a signature.
_SIGNED = re.compile(r"/[^/]+/[0-9a-f]{64}\Z")
_NUMBER = (
    r"from|to|phone_number|handset_number|voip_number|destination_number|failover_number|"
    r"phone|mobile-phone|mobile|number"
)
_NUMBERS = re.compile(rf"(<(?:{_NUMBER})>|\b(?:{_NUMBER})=\")(\+?\d[\d .()-]{{5,}}\d)(?=[<\"])")
_JSON_NUMBERS = re.compile(rf'("(?:{_NUMBER})"\s*:\s*"?)(\+?\d[\d .()-]{{5,}}\d)(?=[\s,}}"])')


#: The messages of the small export, by program.
MESSAGES: dict[int, list[dict[str, Any]]] = {
    121811: [
        {
            "body": "JOIN",
            "number": "12025550123",
            "date": "2025-02-03T08:00:00Z",
            "network": "T-Mobile",
        },
        # Three messages to the same person in the same second.
        *[
            {
                "type": "MT",
                "deliveryStatus": status,
                "number": "2025550124",
                "body": "Hi Zoë!\nReply “YES” & we’ll call. 🙌",
                "date": "2025-02-28T23:59:59Z",
                "network": "AT&T",
            }
            for status in ("Delivered", "Delivered", "Undelivered")
        ],
        {"body": " ", "number": "12025550124", "date": "2025-06-01T11:59:58Z"},
        {
            "type": "MT",
            "deliveryStatus": "Queued",
            "number": "12025550124",
            "body": "",
            "date": "2025-06-01T12:00:00Z",
        },
    ],
    121812: [{"body": "3", "number": "12025550199", "date": "2025-05-31T00:00:00Z"}],
}


#: The rows of the small TextMe account, by table.
CAMPAIGNS: dict[str, list[dict[str, Any]]] = {
    "campaigns": [
        {"id": 1, "campaign_type": "TIMED", "keyword": "WELCOME", "description": "Welcome"},
        {"id": 2, "campaign_type": "SUB", "keyword": "RENT", "description": "Rent & news"},
        {"id": 3, "campaign_type": "VOTE", "keyword": "COLOR", "status": "past"},
        {"id": 4, "campaign_type": "INFO", "keyword": "OLD", "status": "deleted"},
        {"id": 5, "campaign_type": "TIMED", "keyword": "NORTH", "account_id": 11},
    ],
    "timed_campaigns": [
        {
            "campaign_id": 1,
            "id": 12,
            "created_at": "2008-12-19T19:52:00Z",
            "updated_at": "2008-12-29T19:53:53Z",
            "opt_in_sms_message": "This is your opt-in message",
            "subsequent_opt_in_attempt_sms_message": "This is your subsequent message ✊🏿",
        },
        {"campaign_id": 5, "id": 13},
    ],
    # Two are equal.
    "participants": [
        {
            "campaign_id": 1,
            "created_at": "2008-12-19T19:59:28Z",
            "timing_sequence_start_at": "2008-12-19T19:59:28Z",
            "timing_sequence_end_at": "2008-12-20T02:15:00Z",
            "user": {"mobile_phone": f"202555010{person}"},
        }
        for person in (1, 2, 2)
    ],
    "subscriptions": [
        {
            "campaign_id": 2,
            "opt_in_at": "2008-10-01T04:19:17Z",
            "user": {"mobile_phone": "2025550103"},
        },
        {
            "campaign_id": 2,
            "opt_in_at": "2008-10-01T04:19:17Z",
            "confirmed_at": "2008-10-01T04:20:00Z",
            "user": {
                "mobile_phone": "2025550104",
                "birthday_on": "1980-02-29",
                "carrier_id": 1,
                "email": "person4@example.org",
                "first_name": "Zoë",
                "gender": "F",
                "last_name": "Smith & Sons",
                "postal_code": "02109",
                "timezone_id": 6,
            },
        },
    ],
    "vote_campaigns": [
        {
            "campaign_id": 3,
            "vote_campaign_id": 786,
            "start_at": "2010-02-16T17:17:00Z",
            "end_at": "2010-03-31T16:18:00Z",
            "question": "What is your favorite color?",
            "vote_campaign_options": [
                {
                    "option_name": "blue",
                    "option_keyword": "BLUE",
                    "option_vote_count": 1,
                    "option_aliases": ["B", "BLU"],
                },
                {"option_name": "red", "option_keyword": "RED", "option_vote_count": 2},
            ],
        }
    ],
}
MESSANGI_URL = "https://flow.messangi.me/mmc/"
#: The broadcasts and messages of the small instance.
BROADCASTS: list[dict[str, Any]] = [
    {
        "id": "-2490820026197535447",
        "text": "Polls close at 8 pm.\nBring ID & a friend.",
        "startDate": "2025-05-20T15:10:14Z",
        "endDate": datetime(2025, 5, 20, 16, 0, tzinfo=timezone.utc),
        "expectedMessages": 2,
        "sentMessages": 2,
        "status": "2",
        "shortcode": "98765",
    },
    {
        "id": "18",
        "text": "Doors open at 6.",
        "startDate": "2025-07-01T22:00:00Z",
        "expectedMessages": 40,
        "sentMessages": 0,
        "statusDescription": "SCHEDULED",
        "shortcode": "98765",
    },
]
REPORT: list[dict[str, Any]] = [
    {
        "blastId": "-2490820026197535447",
        "id": "-6710228708174720670",
        "carrier": "Movistar",
        "from": "98765",
        "to": "12025550123",
        "text": "Polls close at 8 pm.\nBring ID & a friend.",
        "status": "FINISHED",
        "encoding": "UTF-8",
        "date": "2025-05-20T15:10:15Z",
        "timezone": "America/Caracas",
        "_fraction": "571",
    },
    {
        "id": "2758ebc5-1db5-4822-a5ed-36121e0674a6",
        "type": "PUSH",
        "from": "Inbox",
        "to": "12025550124",
        "subject": "News",
        "text": "🙌",
        "status": "SENT_TO_CARRIER",
        "date": "2025-05-31T23:59:59Z",
        "clientId": "client1",
        "appName": "Inbox",
        "platform": "IOS",
        "_fraction": "999999999",
    },
    {"id": "7", "to": "12025550125", "status": "QUEUE", "date": "2025-06-01T11:59:58Z"},
]


@dataclass(frozen=True)
class Tape:
    """The content of a cassette.

    Attributes:
        make_source: Return the source.
        root: Base URL of the real service.
        resource: Name of the loaded resource.
        open_sandbox: Open a sandbox and yield its URL.
        credentials: Credentials that the sandbox accepts.
        settings: Further arguments of the source.
        is_dated: Whether the source loads a range of time.
    """

    make_source: Callable[..., DltSource]
    root: str
    resource: str
    open_sandbox: Callable[[], AbstractContextManager[str]]
    credentials: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_dated: bool = True


class Readable:
    """A vcrpy serializer that writes YAML, with one line for each line of a body."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        """Return the text of a cassette."""
        return yaml.dump(cassette, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10**6)

    @staticmethod
    def deserialize(text: str) -> Any:
        """Return the cassette from its text."""
        return yaml.safe_load(text)


class _Dumper(yaml.SafeDumper):
    """A dumper that writes text of several lines line by line."""


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def cassette_file(name: str) -> Path:
    """Return the path of a cassette."""
    return HERE / f"{name}.yaml"


@contextmanager
def stopped_clock() -> Iterator[None]:
    """Set the time to :data:`NOW`. With a retention, the requests depend on the time."""
    with mock.patch.object(SyncContext, "now", NOW):
        yield


def recorder(root: str, base_url: str | None = None) -> vcr.VCR:
    """Return the recorder, which also plays back.

    Args:
        root: Base URL of the real service.
        base_url: Base URL while recording, if it differs.
    """
    here = base_url or root
    tape = vcr.VCR(
        serializer="readable",
        match_on=("method", "scheme", "host", "path", "query"),
        decode_compressed_response=True,
        before_record_request=lambda request: _without_secrets(request, here, root),
        before_record_response=lambda response: _moved(_without_people(response), here, root),
    )
    tape.register_serializer("readable", Readable)
    return tape


def _without_secrets(request: Request, here: str, root: str) -> Request:
    """Return the request with the URL of the vendor, without credentials, keys and company."""
    parts = urlsplit(request.uri.replace(here, root, 1))
    parts = parts._replace(path=_SIGNED.sub(f"/{FILTERED}/{FILTERED}", parts.path))
    query = [
        (name, FILTERED if name == "company" else value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    request.uri = urlunsplit(parts._replace(query=urlencode(query)))
    request.headers = {
        name: value for name, value in request.headers.items() if name.lower() in REQUEST_HEADERS
    }
    return request


def _without_people(response: dict[str, Any]) -> dict[str, Any]:
    """Return the response with invented phone numbers and few headers."""
    headers = response["headers"]
    response["headers"] = {
        name: values for name, values in headers.items() if name.lower() in RESPONSE_HEADERS
    }
    body = response["body"]["string"]
    if isinstance(body, bytes):
        text = _NUMBERS.sub(_invented, body.decode("utf-8"))
        response["body"]["string"] = _JSON_NUMBERS.sub(_invented, text).encode()
    return response


def _moved(response: dict[str, Any], here: str, root: str) -> dict[str, Any]:
    """Return the response, with the base URL replaced by that of the vendor."""
    body = response["body"]["string"]
    if isinstance(body, bytes):
        response["body"]["string"] = body.replace(here.encode(), root.encode())
    return response


def _invented(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", found[2])
    if digits[-7:-4] == "555":
        return found[0]
    return f"{found[1]}1202555{int(digits) * 7919 % 10_000:04d}"


@contextmanager
def small_account() -> Iterator[str]:
    """Yield the URL of a sandbox with two or three rows of each kind."""
    service = MobileCommons(empty=True, now=NOW)
    tables = yaml.safe_load(ACCOUNT.read_text(encoding="utf-8"))
    members = tables.pop("group_members")
    for table, rows in tables.items():
        for row in rows:
            service.put(table, row)
    for group, profiles in members.items():
        for profile in profiles:
            service.add_member(group, profile)
    # Put adds a missing time. Remove it again: this broadcast is not sent yet.
    service.update("broadcasts", 200001, delivery_time=None)
    with Sandbox(service) as box:
        yield box.url


@contextmanager
def small_export(*failures: Response) -> Iterator[str]:
    """Yield the URL of a sandbox with two programs and a few messages.

    Args:
        failures: Responses to the first requests.
    """
    service = MGage(empty=True, now=NOW)
    service.add_program(121811, "Default Campaign", "Members & Friends", "Text to Join")
    service.add_program(121812, "Spring Drive", "“Fair Deal” Pledge", "Info Request")
    for program, messages in MESSAGES.items():
        for message in messages:
            service.put(program, message)
    left = list(failures)
    with Sandbox(service) as box:
        box.faults.append(lambda request: left.pop(0) if left else None)
        yield box.url


@contextmanager
def small_list() -> Iterator[str]:
    """Yield the URL of a sandbox with two groups, two contacts and two messages."""
    service = Mobiniti(empty=True, now=NOW, requests_per_second=None)
    times = {"created_at": "2025-01-13T01:54:01Z", "updated_at": "2025-05-31T23:59:59Z"}
    carrier = {"id": service.put("carriers", 0, name="T-Mobile"), "name": "T-Mobile"}
    groups = [
        {"id": service.put("groups", key, name=name, emails=[], **times), "name": name}
        for key, name in enumerate(("Members & Friends", "Línea de renta"))
    ]
    fields = [{"id": "3f0e6c4e-0f4b-4a3e-9d5c-2f1f7f8f2a10", "name": "Shirt size", "value": "L"}]
    ana = {"first_name": "Ana", "phone_number": "+12025550123", "carrier": carrier}
    person = {**ana, **times, "birth_date": "1980-02-29", "reward_points": 3, "status": "active"}
    service.put("contacts", 0, **person, groups=groups, fields=fields)
    service.put("contacts", 1, phone_number="+12025550124", status="active", **times)
    contact = {"id": service.rows("contacts")[0]["id"], **ana}
    receipt = {"code": "100", "status": "The message delivered successfully", "success": True}
    message = {"phone_number": ana["phone_number"], "contact": contact, "read": False, **times}
    service.put("messages", 0, **message, message="Hi Zoë! 🙌", type="OUTGOING", receipt=receipt)
    service.put("messages", 1, **message, message="YES", type="INCOMING")
    send_date = datetime(2025, 6, 2, tzinfo=timezone.utc)
    service.put("scheduled_messages", 0, message="Soon", send_date=send_date, **times)
    with Sandbox(service) as box:
        yield box.url


@contextmanager
def small_campaigns() -> Iterator[str]:
    """Yield the URL of a sandbox with a few campaigns."""
    service = TextMe(empty=True, now=NOW)
    for table, rows in CAMPAIGNS.items():
        for row in rows:
            service.put(table, row)
    with Sandbox(service) as box:
        yield box.url


def _textme(resource: str) -> Tape:
    return Tape(
        textme_source,
        TEXTME_URL,
        resource,
        small_campaigns,
        TextMeCredentials(**LOGIN),
        {"accounts": [10, 11]},
        is_dated=False,
    )


@contextmanager
def small_instance(*failures: Response, **options: Any) -> Iterator[str]:
    """Yield the URL of a sandbox with two broadcasts and three messages.

    Args:
        failures: Responses to the first requests.
        options: Options of the sandbox.
    """
    service = Messangi(empty=True, now=NOW, **options)
    for table, rows in (("broadcasts", BROADCASTS), ("messages", REPORT)):
        for row in rows:
            service.put(table, row)
    left = list(failures)
    with Sandbox(service) as box:
        box.faults.append(lambda request: left.pop(0) if left else None)
        yield box.url


def _mcommons(name: str) -> Tape:
    return Tape(
        mcommons_source,
        MCOMMONS_URL,
        name,
        small_account,
        MobileCommonsCredentials(**LOGIN),
        {**SETTINGS, "company": COMPANY, **FURTHER.get(name, {})},
    )


def _mgage(*failures: Response, **settings: Any) -> Tape:
    return Tape(
        mgage_source,
        MGAGE_URL,
        "messages",
        lambda: small_export(*failures),
        MGageCredentials(**LOGIN),
        settings,
    )


def _mobiniti(resource: str) -> Tape:
    return Tape(
        mobiniti_source,
        MOBINITI_URL,
        resource,
        small_list,
        MobinitiCredentials(token="sandbox-token"),
        {"start_date": "2025-01-01", "requests_per_second": 1000.0},
    )


def _messangi(resource: str, *failures: Response, rooted: bool = False, **settings: Any) -> Tape:
    former = resource == "broadcasts"
    return Tape(
        messangi_source,
        MESSANGI_URL,
        resource,
        lambda: small_instance(*failures, rooted=rooted, former=former),
        MessangiCredentials("sandbox-public-key", "sandbox-private-key"),
        {"instance_id": "7", **settings},
    )


#: All cassettes, by name.
TAPES = {
    **{endpoint.name: _mcommons(endpoint.name) for endpoint in ENDPOINTS},
    **{
        f"mobiniti_{name}": _mobiniti(name)
        for name in ("contacts", "group_contacts", "messages", "scheduled_messages")
    },
    "mgage_messages": _mgage(
        programs=[121811, 121812], page_size=2, start_date="2025-02-01T00:00:00-05:00"
    ),
    "mgage_unknown_program": _mgage(programs=[121899, 121812], message_type="MO"),
    "mgage_failures": _mgage(
        failure(500, "General server exception"),
        failure(200, "Program 121812 could not be read"),
        programs=[121812],
        since="2025-05-31T02:00:00+02:00",
        until="2025-06-01",
    ),
    **{f"textme_{endpoint.name}": _textme(endpoint.name) for endpoint in TEXTME_ENDPOINTS},
    "messangi_messages": _messangi("messages", page_size=2, start_date="2025-01-01"),
    "messangi_broadcasts": _messangi("broadcasts", rooted=True, start_date="2025-01-01"),
    "messangi_shortcodes": _messangi("shortcodes", user_names=["sandbox"]),
    "messangi_failures": _messangi(
        "messages",
        Response(429),
        Response(
            200,
            b"<response><input>sendMT</input><status>ERROR</status></response>",
            {"Content-Type": "application/xml;charset=UTF-8"},
        ),
        rooted=True,
        since="2025-05-31",
        until="2025-05-31",
    ),
}


def record(name: str, base_url: str, **settings: Any) -> Path:
    """Load one resource into a temporary warehouse, and return the file with the HTTP traffic."""
    file, tape = cassette_file(name), TAPES[name]
    file.unlink(missing_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        recorder(tape.root, base_url).use_cassette(str(file), record_mode="once"),
    ):
        # One request at a time keeps the cassette in order.
        source = tape.make_source(base_url=base_url, concurrency=1, **settings)
        pipeline = dlt.pipeline(
            "cassettes",
            pipelines_dir=folder,
            destination=dlt.destinations.duckdb(f"{folder}/cassettes.duckdb"),
        )
        pipeline.run(source.with_resources(tape.resource))
    return file


def record_sandbox(name: str) -> Path:
    """Record a cassette from a sandbox, and return its file."""
    tape = TAPES[name]
    with stopped_clock(), tape.open_sandbox() as url:
        return record(name, url, credentials=tape.credentials, **tape.settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the cassettes that the command line names, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python cassettes/record.py", description=__doc__)
    parser.add_argument("cassettes", nargs="*", metavar="CASSETTE", help="all of them if none")
    parser.add_argument(
        "--live",
        action="store_true",
        help="record the account of the configured credentials; read README.md first",
    )
    parser.add_argument("--start-date", help="with --live: first second of the rows wanted")
    parser.add_argument("--until", help="with --live: last second of the rows wanted")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.cassettes) - set(TAPES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(TAPES)}")
    if options.live != bool(options.start_date and options.until):
        parser.error("--live, --start-date and --until belong together")
    if options.live and not options.cassettes:
        parser.error("--live records what is named")
    dlt.config["runtime.dlthub_telemetry"] = False
    if options.live:
        times = {"start_date": options.start_date, "until": options.until}
        files = [
            record(name, TAPES[name].root, **(times if TAPES[name].is_dated else {}))
            for name in options.cassettes
        ]
    else:
        dlt.config["runtime.request_backoff_factor"] = 0.01
        files = [record_sandbox(name) for name in options.cassettes or TAPES]
    for file in files:
        print(file.relative_to(HERE.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
