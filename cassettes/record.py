"""Record the cassettes: ``python cassettes/record.py --help``.

A cassette holds what goes over the wire when a resource is loaded: each request (method, address,
headers) and its answer. They are recorded against the sandbox, from an account with a few rows of
each kind, so that recording again changes nothing unless the wire has changed. README.md says how
to record against the live service, and what to look at before such a cassette leaves the machine.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import dlt
import vcr
import yaml
from vcr.request import Request

from sandbox import Sandbox
from sandbox.mcommons import MobileCommons
from sources.mcommons import MobileCommonsCredentials, mcommons_source
from sources.mcommons.settings import BASE_URL

#: What every request is sent with; the answers would differ without.
SETTINGS: dict[str, Any] = {
    "start_date": "2024-01-01",
    "until": "2025-06-01T12:00:00Z",
    "concurrency": 1,
}
#: What a resource is read with beside that.
FURTHER: dict[str, dict[str, Any]] = {
    # Only a range has a window: a first load reads each campaign whole.
    "campaign_subscribers": {"since": "2024-01-01"},
    "donation_summaries": {"fundraising_ids": [501]},
    "mdata_entries": {"mdata_entries": [{"mdata_id": 4667, "input": "94401"}]},
}
#: The rows of the small account.
KEPT = {
    "profiles": {300000049, 300000371},
    "incoming_messages": {1290000007, 1290000013, 1290000028},
    "outgoing_messages": {6480000000, 6480000002},
    "broadcasts": {123506, 123551},
    "calls": {11765582, 11765586},
    "clicks": {70000123, 70000127, 70000139},
    "mdata_queries": {1, 3},
    "campaigns": {162603, 162606},
    "subscribers": {50000014, 50000040, 50000041},
    "groups": {402704, 402781},
    "keywords": {763101, 763113},
    "mconnects": {10, 11},
    "tinyurls": {8101, 8103},
    "mdatas": {4667, 4680},
    "tags": {31, 39},
    "attachments": {143543, 143560},
}
COMPANY = "COSANDBOX00000000000000000000000001"
FILTERED = "FILTERED"
#: The only headers kept of a request, and of an answer.
REQUEST_HEADERS = {"accept", "accept-encoding"}
RESPONSE_HEADERS = {"content-type"}

_NUMBER = (
    r"phone_number|handset_number|voip_number|destination_number|failover_number|"
    r"phone|mobile|number"
)
_NUMBERS = re.compile(rf"(<(?:{_NUMBER})>|\b(?:{_NUMBER})=\")(\+?\d[\d .()-]{{5,}}\d)(?=[<\"])")


def cassette_file(resource: str) -> Path:
    """Where the cassette of a resource is."""
    return HERE / f"{resource}.yaml"


def settings_of(resource: str) -> dict[str, Any]:
    """The arguments of the source with which a resource is recorded and played back."""
    return {**SETTINGS, "company": COMPANY, **FURTHER.get(resource, {})}


class Readable:
    """Cassettes as YAML with one line for each line of a body, as vcrpy wants a serializer."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        """The text of a cassette."""
        return yaml.dump(cassette, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10**6)

    @staticmethod
    def deserialize(text: str) -> Any:
        """What :meth:`serialize` was given."""
        return yaml.safe_load(text)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines line by line."""


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def recorder(base_url: str = BASE_URL) -> vcr.VCR:
    """What records and plays back; ``base_url`` is where the service is while recording."""
    tape = vcr.VCR(
        serializer="readable",
        match_on=("method", "scheme", "host", "path", "query"),
        decode_compressed_response=True,
        before_record_request=lambda request: _without_secrets(request, base_url),
        before_record_response=_without_people,
    )
    tape.register_serializer("readable", Readable)
    return tape


def _without_secrets(request: Request, base_url: str) -> Request:
    """The request as it would go to the vendor, without whose it is."""
    uri = BASE_URL + request.uri.removeprefix(base_url).removeprefix(BASE_URL)
    parts = urlsplit(uri)
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
    """The answer with every phone number replaced by an invented one, and few headers."""
    headers = response["headers"]
    response["headers"] = {
        name: values for name, values in headers.items() if name.lower() in RESPONSE_HEADERS
    }
    body = response["body"]["string"]
    if isinstance(body, bytes):
        text = _NUMBERS.sub(_invented, body.decode("utf-8"))
        response["body"]["string"] = text.encode()
    return response


def _invented(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", found[2])
    if digits[-7:-4] == "555":
        return found[0]
    return f"{found[1]}1202555{int(digits) * 7919 % 10_000:04d}"


@contextmanager
def small_account() -> Iterator[str]:
    """A sandbox with two or three rows of each kind; gives its URL."""
    service = MobileCommons(seed=1, profiles=200, now="2025-06-01T12:00:00Z")
    for kind, kept in KEPT.items():
        for row in service.rows(kind):
            if row["id"] not in kept:
                service.delete(kind, row["id"])
    service.put("broadcasts", {"id": 200001, "name": "Not sent yet", "status": "draft"})
    service.update("broadcasts", 200001, delivery_time=None)
    with Sandbox(service) as box:
        yield box.url


def record(resource: str, base_url: str, **settings: Any) -> Path:
    """Load one resource into a warehouse that is thrown away, and keep what went over the wire."""
    file = cassette_file(resource)
    file.unlink(missing_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        recorder(base_url).use_cassette(str(file), record_mode="once"),
    ):
        source = mcommons_source(base_url=base_url, **settings)
        pipeline = dlt.pipeline(
            "cassettes",
            pipelines_dir=folder,
            destination=dlt.destinations.duckdb(f"{folder}/cassettes.duckdb"),
        )
        pipeline.run(source.with_resources(resource))
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Record as the command line says. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python cassettes/record.py", description=__doc__)
    parser.add_argument("resources", nargs="*", metavar="RESOURCE", help="all of them if none")
    parser.add_argument(
        "--live",
        action="store_true",
        help="record the account of the configured credentials; read README.md first",
    )
    parser.add_argument("--start-date", help="with --live: first second of the rows wanted")
    parser.add_argument("--until", help="with --live: last second of the rows wanted")
    options = parser.parse_args(arguments)
    if options.live != bool(options.start_date and options.until):
        parser.error("--live, --start-date and --until belong together")
    dlt.config["runtime.dlthub_telemetry"] = False
    if options.live:
        times = {"start_date": options.start_date, "until": options.until}
        names = options.resources or list(mcommons_source().resources)
        files = [record(name, BASE_URL, **{**SETTINGS, **times}) for name in names]
    else:
        credentials = MobileCommonsCredentials(
            username="sandbox@example.org", password="sandbox-password"
        )
        with small_account() as url:
            known = mcommons_source(base_url=url, credentials=credentials).resources
            files = [
                record(name, url, credentials=credentials, **settings_of(name))
                for name in options.resources or known
            ]
    for file in files:
        print(file.relative_to(HERE.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
