"""The endpoints of Messangi, and the tables that they load.

Source: the vendor's pages on the REST API. Base64url stands for text in a path, ``null`` for a
parameter that is not used.
"""

from __future__ import annotations

from datetime import timedelta

from textlift.codec.dialects import XmlDialect
from textlift.declare import (
    MILLISECONDS,
    Column,
    ColumnType,
    Endpoint,
    Incremental,
    Paging,
    Personal,
    TimeRange,
)

BIGINT = ColumnType.BIGINT
TEXT = ColumnType.TEXT
TIMESTAMP = ColumnType.TIMESTAMP

DAY = timedelta(days=1)
#: A parameter that is not used.
UNUSED = "null"
_LIST = "{instanceId}/{type}/{initialDate}/{finalDate}/{text}"

#: The vendor's pages print several elements and no root, clients have recorded a root.
DIALECT = XmlDialect(envelope="response", unwrapped=True, total="records")

ENDPOINTS = (
    # Message Report. A status moves for days, so the lookback is three. The clock of the service can
    # be minutes ahead, so the window ends in the future. `parameters` filters, and is not used.
    Endpoint(
        name="messages",
        entity="message",
        meaning="One message: an SMS, push notification or e-mail, as the message report has it.",
        path="rest/api/tools/messageReport/{instanceId}/{initialDate}/{finalDate}/{page}/"
        "{resultsPerPage}/{parameters}",
        rows="result/messages/message",
        columns={
            "id": Column(TEXT, "Id of the message: a negative or positive number, or a UUID"),
            "broadcast_id": Column(TEXT, "Broadcast of the message: broadcasts.id"),
            "type": Column(TEXT, "Channel, for example SMS or PUSH"),
            "carrier": Column(TEXT, "Carrier that the message was sent through"),
            "from": Column(TEXT, "Sender: code, number, application or address", Personal.PHONE),
            "to": Column(TEXT, "Recipient: mobile number, device or address", Personal.PHONE),
            "subject": Column(TEXT, "Subject, where the channel has one", Personal.FREE_TEXT),
            "text": Column(TEXT, "Text of the message, verbatim", Personal.FREE_TEXT),
            "status": Column(TEXT, "Status, for example QUEUE or FINISHED; it changes for days"),
            "status_description": Column(TEXT, "Status in words"),
            "encoding": Column(TEXT, "Character encoding of the text, for example UTF-8"),
            "date": Column(TIMESTAMP, "When the message was sent or received, UTC"),
            "timezone": Column(TEXT, "Time zone that the service printed the date in"),
            "client_id": Column(TEXT, "Sender, as the client identified it", Personal.IDENTIFIER),
            "app_name": Column(TEXT, "Application that a push notification belongs to"),
            "platform": Column(TEXT, "Platform of a push notification, for example IOS"),
        },
        aliases={"blast_id": "broadcast_id"},
        params={"parameters": UNUSED},
        paging=Paging.COUNTED,
        page_limit=1000,
        incremental=Incremental("date", lookback=3 * DAY, ahead=timedelta(minutes=15)),
        time_range=TimeRange("initialDate", "finalDate", format=MILLISECONDS),
    ),
    # List Broadcasts; older platforms have it under its former name. The final date is open, so that
    # scheduled broadcasts are in each run. Days are those of the service's time zone, which no page
    # states, so a day more is requested. Counts and statuses move for weeks.
    Endpoint(
        name="broadcasts",
        entity="broadcast",
        meaning="One broadcast: a message to many people, sent or scheduled.",
        path=f"rest/api/broadcasts/{_LIST}",
        alternative_paths=(f"rest/api/getBroadcasts/{_LIST}",),
        rows="result/broadcasts/broadcast",
        columns={
            "id": Column(TEXT, "Id of the broadcast"),
            "text": Column(TEXT, "Text of the broadcast, verbatim"),
            "start_date": Column(TIMESTAMP, "When it begins, also in the future, UTC"),
            "end_date": Column(TIMESTAMP, "When the broadcast ended, UTC; NULL before"),
            "expected_messages": Column(BIGINT, "Number of messages to send"),
            "sent_messages": Column(BIGINT, "Number of messages sent so far"),
            "status": Column(TEXT, "Status, as the service's number, for example 2 for done"),
            "status_description": Column(TEXT, "Status in words, for example SCHEDULED"),
            "shortcode": Column(TEXT, "Short or long code that the messages are sent from"),
        },
        params={"text": UNUSED},
        incremental=Incremental("start_date", lookback=30 * DAY, ahead=5 * 365 * DAY),
        time_range=TimeRange("initialDate", "finalDate", "%d-%m-%Y", DAY, DAY, open_end=UNUSED),
        configured=("type",),
    ),
    # Get Shortcodes, for each configured user.
    Endpoint(
        name="shortcodes",
        entity="shortcode",
        meaning="One short or long code that a user of the instance can send from.",
        path="rest/api/getShortcodes/{instanceId}/{user_name}",
        rows="result/shortcodes/shortcode",
        columns={
            "user_name": Column(TEXT, "Login of the user, as configured", Personal.IDENTIFIER),
            "shortcode": Column(TEXT, "The short or long code"),
        },
        key=("user_name", "shortcode"),
        aliases={"sc": "shortcode"},
        configured=("user_name",),
        setting="user_names",
    ),
)
