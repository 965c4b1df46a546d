"""The endpoints of mGage: the message export.

Vendor page: the REST API with which the SMS Campaign Manager exports messages; the section named
beside the endpoint.
"""

from __future__ import annotations

from datetime import timedelta

from textlift.codec.json_tree import JsonDialect
from textlift.declare import ColumnType, Endpoint, Paging, WindowParams

BIGINT = ColumnType.BIGINT
TEXT = ColumnType.TEXT
TIMESTAMP = ColumnType.TIMESTAMP

NOT_FOUND = 404

DIALECT = JsonDialect(
    shared=frozenset({"campaignName", "programName", "programType"}), next_link="meta/nextPageUrl"
)

ENDPOINTS = (
    # "Request URL" and "Filters". Read by the time a message was sent or received, for each program.
    # Statuses and networks come late, so three days are read again. The service can be some minutes
    # ahead of this machine, so the end lies ahead as well.
    Endpoint(
        name="messages",
        path="messages/program/{program_id}",
        rows="data/messages",
        columns={
            "program_id": BIGINT,
            "campaign_name": TEXT,
            "program_name": TEXT,
            "program_type": TEXT,
            "type": TEXT,
            "delivery_status": TEXT,
            "number": TEXT,
            "body": TEXT,
            "date": TIMESTAMP,
            "network": TEXT,
        },
        key=("message_key",),
        identity=("program_id", "type", "number", "body", "date"),
        paging=Paging.LINKED,
        page_limit=500,
        window=WindowParams(
            start="startDate",
            end="endDate",
            cursor="date",
            lookback=timedelta(days=3),
            ahead=timedelta(minutes=15),
            kept=timedelta(days=365),
        ),
        configured=("program_id",),
        setting="programs",
        not_found_codes=frozenset({NOT_FOUND}),
    ),
)
(MESSAGES,) = ENDPOINTS
