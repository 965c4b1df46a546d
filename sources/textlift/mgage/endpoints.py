"""The endpoint of mGage, and the table that it loads.

Source: the vendor's page on the REST API that exports messages from the SMS Campaign Manager.
"""

from __future__ import annotations

from datetime import timedelta

from textlift.codec.dialects import JsonDialect
from textlift.declare import Column, ColumnType, Endpoint, Incremental, Paging, Personal, TimeRange

BIGINT = ColumnType.BIGINT
TEXT = ColumnType.TEXT
TIMESTAMP = ColumnType.TIMESTAMP

NOT_FOUND = 404

DIALECT = JsonDialect(
    shared=frozenset({"campaignName", "programName", "programType"}), next_link="meta/nextPageUrl"
)

ENDPOINTS = (
    # "Request URL" and "Filters", for each configured program. Statuses and networks arrive late,
    # so the lookback is three days. The clock of the service can be minutes ahead, so the window
    # ends in the future.
    Endpoint(
        name="messages",
        entity="message",
        meaning=(
            "One message of a program, to a person (MT) or from a person (MO). The service keeps "
            "messages for one year; a row stays in the warehouse."
        ),
        path="messages/program/{program_id}",
        rows="data/messages",
        columns={
            "program_id": Column(BIGINT, "Id of the program, as configured"),
            "campaign_name": Column(TEXT, "Name of the campaign that the program belongs to"),
            "program_name": Column(TEXT, "Name of the program"),
            "program_type": Column(TEXT, "Kind of program, for example Text to Join"),
            "type": Column(TEXT, "Direction: MO from a person, MT to a person"),
            "delivery_status": Column(
                TEXT,
                "Status as in the Message Reports of the SMS Campaign Manager, for example Received "
                "or Delivered; it can change for days",
            ),
            "number": Column(TEXT, "Mobile number of the person", Personal.PHONE),
            "body": Column(TEXT, "Text of the message, verbatim", Personal.FREE_TEXT),
            "date": Column(TIMESTAMP, "When the message was sent or received, UTC"),
            "network": Column(TEXT, "Carrier network of the mobile; NULL while it is not known"),
        },
        key=("message_key",),
        identity=("program_id", "type", "number", "body", "date"),
        paging=Paging.LINKED,
        page_limit=500,
        incremental=Incremental(
            "date",
            lookback=timedelta(days=3),
            ahead=timedelta(minutes=15),
            retention=timedelta(days=365),
        ),
        time_range=TimeRange("startDate", "endDate", format="%Y-%m-%dT%H:%M:%S"),
        configured=("program_id",),
        setting="programs",
        not_found_codes=frozenset({NOT_FOUND}),
    ),
)
(MESSAGES,) = ENDPOINTS
