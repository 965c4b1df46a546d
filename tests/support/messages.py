"""The table of mGage, and a comparison of a warehouse with the sandbox."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from tests.conftest import Warehouse
from tests.support.truth import Row, comparable, expected_messages

PROGRAM = 121811
PROGRAMS = (121811, 121812, 121813)
TEXT, TIME = "VARCHAR", "TIMESTAMP WITH TIME ZONE"
COLUMNS = {
    "message_key": TEXT,
    "program_id": "BIGINT",
    "campaign_name": TEXT,
    "program_name": TEXT,
    "program_type": TEXT,
    "type": TEXT,
    "delivery_status": TEXT,
    "number": TEXT,
    "body": TEXT,
    "date": TIME,
    "network": TEXT,
}


def served(warehouse: Warehouse) -> list[Row]:
    return expected_messages(warehouse.box.service)


def loaded(warehouse: Warehouse) -> list[Row]:
    with warehouse.reading():
        columns = [name for name in warehouse.columns("messages") if not name.startswith("_")]
        names = ", ".join(f'"{name}"' for name in columns)
        return [dict(zip(columns, row)) for row in warehouse.query(f"SELECT {names} FROM messages")]


def assert_holds(warehouse: Warehouse, rows: Iterable[Row]) -> None:
    """The table is exactly these rows, as often as they are there, each with a key of its own."""
    rows, found = list(rows), loaded(warehouse)
    columns = sorted({*COLUMNS, *(name for row in rows for name in row)} - {"message_key"})
    assert comparable(found, columns) == comparable(rows, columns)
    assert len({row["message_key"] for row in found}) == len(found)


def assert_same(warehouse: Warehouse) -> None:
    """The table is what the service serves, and nothing was rejected."""
    with warehouse.reading():
        assert_holds(warehouse, served(warehouse))
        assert warehouse.content("rejected_records") == []


def asked(warehouse: Warehouse, program_id: int = PROGRAM) -> list[dict[str, str]]:
    """The parameters of each question for a program."""
    endpoint = f"messages/program/{program_id}"
    return [request.params for request in warehouse.box.requests if request.endpoint == endpoint]


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "")).replace(tzinfo=timezone.utc)


def written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def of_account(state: Any) -> dict[str, Any]:
    """What a pipeline's state says of the account in the sandbox."""
    resource = state["sources"]["mgage"]["resources"]["messages"]
    found: dict[str, Any] = resource["accounts"]["127.0.0.1"]
    return found


def rewind(warehouse: Warehouse, **times: datetime) -> None:
    """Have the state say, here and in the warehouse, that reading got as far as these times."""
    pipeline = warehouse.pipeline()
    with pipeline.managed_state(extract_state=True) as state:
        resource = of_account(state)
        for name, time in times.items():
            resource[name] = dict.fromkeys(resource[name], written(time))
    pipeline.normalize()
    pipeline.load()
