"""The webhooks of Mobiniti, and the tables of what they deliver.

Source: "Webhooks" on the vendor's page, which prints a body of each kind. The name of an endpoint is
the last part of its URL.
"""

from __future__ import annotations

from textlift.declare import ChildList, Column, ColumnType, Endpoint, Personal, Webhook

BIGINT = ColumnType.BIGINT
BOOLEAN = ColumnType.BOOLEAN
TEXT = ColumnType.TEXT
TIMESTAMP = ColumnType.TIMESTAMP

#: "List of possible status codes and messages" of delivery reports, verbatim.
DELIVERY_CODES = {
    "100": "The message delivered successfully",
    "101": "The MSISDN is inactive or no longer active.",
    "102": (
        "Fault in Number Portability Database or HLR of MSISDN range holder. Occurs more "
        "frequently if number ported more than once in certain countries."
    ),
    "103": (
        "Occurs when the MSC that a message has been sent to is not aware of the subscriber "
        "IMSI. Suggests HLR has not been updated or MSC malfunction."
    ),
    "104": (
        "It cannot be determined whether this message has been delivered or has failed due to "
        "lack of final delivery state information from the carrier."
    ),
    "105": "Rejection due to failed authentication or filtering.",
    "106": "Destination number is not a valid mobile number or its routing cannot be determined.",
    "107": "Rejection due to subscription not supporting SMS.",
    "108": "Rejection due to subscription, handset or network not supporting SMS.",
    "109": "Rejection due to subscription or network not allowing SMS.",
    "110": (
        "Subscriber handset is not logged onto the network due to it being turned off or out of"
        " coverage. Likely to have been unavailable for 12 hours or more."
    ),
    "111": (
        "Subscriber handset is not reachable on the network due to it being turned off or out "
        "of coverage. Likely to have very recently become unavailable."
    ),
    "112": (
        "Subscriber handset is not reachable on the network due to it being turned off or out "
        "of coverage. Likely to have been unavailable for several hours."
    ),
    "113": "The MSC that the subscriber is currently registered to is experiencing a fault.",
    "114": (
        "MSC is busy handling an existing transaction with the handset. The subscriber could be"
        " currently receiving an SMS at exactly the same time."
    ),
    "115": (
        "Receiving handset or equipment does not support SMS or an SMS feature. This is "
        "temporary because the subscriber could switch to a different device."
    ),
    "116": (
        "Rejection due to subscriber handset not having the memory capacity to receive the "
        "message. Likely to have been in state for 12 hours or more."
    ),
    "117": "Rejection due to SS7 protocol or network failure.",
    "118": "Rejection due to subscriber network decoding error or signaling fault.",
    "119": (
        "Rejection due to subscriber handset not having the memory capacity to receive the "
        "message. Likely to have run out of capacity recently."
    ),
    "120": "Generic delivery failure",
    "121": "Internal SMSC error due to invalid message syntax.",
    "122": "Internal SMSC error caused by SS7 link/dialogue fault.",
    "123": (
        "SMSC cannot decode the response received from destination network due to an encoding "
        "or protocol fault."
    ),
    "124": (
        "Subscriber network or signalling partner has terminated the signalling connection, "
        "preventing message transmission."
    ),
    "125": (
        "The reason of rejection for the message is Anti-Spam Rejection because of the content."
        " Carrier identified this kind of traffic which has same marketing content as a spam "
        "and block it, this is a carrier based regulation."
    ),
    "126": (
        "Subscriber network not receiving packets from SMSC, or not responding to them. "
        "Alternatively, a 3rd party signalling partner may not be routing correctly."
    ),
    "127": (
        "Subscriber network or signalling partner has not responded to signalling connection "
        "setup or maintenance packets."
    ),
    "128": "Subscriber network refuses signalling connection or message packet.",
    "129": (
        "Signalling with destination network has been prevented by SMSC partner or signalling "
        "partner."
    ),
    "130": (
        "SMSC partner or 3rd party signalling partner has prevented messages being sent to this"
        " MSISDN or destination network."
    ),
    "131": "SMSC partner has rejected the message due to an unacceptable message parameter.",
    "132": (
        "SMSC partner could not process this message due to a platform fault, but it will be "
        "retired."
    ),
    "133": (
        "SMSC partner could not process this message due to a platform fault and it will not be"
        " retried."
    ),
    "134": "SMSC partner cannot route this message currently, but it will be retried.",
    "135": "SMSC partner cannot route this message and it will not be retried.",
    "136": (
        "Message is queued within REST API system and will be dispatched according to the rate "
        "of the account."
    ),
    "137": "Message has been dispatched to SMSC.",
    "138": "SMSC rejected message. Retrying is likely to cause the same error.",
    "139": "An unexpected error caused the message to fail.",
    "140": "Message failed because of temporary delivery failure. Message can be retried.",
    "141": "One or more parameters in the message body has no mapping for this recipient.",
    "142": "Message was expired before reaching SMSC.",
    "143": "Message was canceled by user before reaching SMSC.",
    "144": (
        "SS7 signalling link at destination network, SMSC, or 3rd party signalling partner is "
        "overloaded."
    ),
    "214": (
        "Subscriber network or signalling partner has rejected the signalling connection, "
        "preventing message transmission."
    ),
}

_EVENT = {
    "event_id": Column(TEXT, "Key of the event, computed from the body that was posted"),
    "received_at": Column(TIMESTAMP, "When the body was received, UTC"),
}
_CONTACT = {
    "contact_id": Column(TEXT, "The contact: contacts.id"),
    "first_name": Column(TEXT, "First name of the contact", Personal.NAME),
    "last_name": Column(TEXT, "Last name of the contact", Personal.NAME),
    "email": Column(TEXT, "E-mail address of the contact", Personal.EMAIL),
    "phone_number": Column(TEXT, "Phone number of the contact", Personal.PHONE),
}
_TIMES = {
    "created_at": Column(TIMESTAMP, "When the contact was created, UTC"),
    "updated_at": Column(TIMESTAMP, "When the contact last changed, UTC"),
}
_UNSUBSCRIBED_AT = Column(TIMESTAMP, "When the contact unsubscribed, UTC")

WEBHOOKS = (
    Endpoint(
        name="inbound_messages",
        entity="inbound_message",
        meaning="One message from a contact, with the contact as it was then.",
        path="inbound_messages",
        rows=".",
        columns={
            **_EVENT,
            "received_at": Column(
                TIMESTAMP, "When the message was received, as the service states it, UTC"
            ),
            **_CONTACT,
            "short_code": Column(TEXT, "Number that the contact texted to"),
            "message": Column(TEXT, "Text of the message, verbatim", Personal.FREE_TEXT),
            "unsubscribed_at": _UNSUBSCRIBED_AT,
            **_TIMES,
        },
        key=("event_id",),
        aliases={"id": "contact_id"},
        webhook=Webhook(required=("id", "received_at"), distinct="received_at"),
    ),
    Endpoint(
        name="unsubscribes",
        entity="unsubscribe",
        meaning="One contact who unsubscribed.",
        path="unsubscribes",
        rows=".",
        columns={
            **_EVENT,
            **_CONTACT,
            "to": Column(TEXT, "Number that the contact texted to"),
            "unsubscribed_at": _UNSUBSCRIBED_AT,
            **_TIMES,
        },
        key=("event_id",),
        aliases={"id": "contact_id"},
        webhook=Webhook(required=("id", "to"), distinct="unsubscribed_at"),
    ),
    # A report has a list of statuses, and beside it a list of messages. Nothing says which message
    # has which status, so the messages are kept once for each report.
    Endpoint(
        name="delivery_reports",
        entity="delivery_report",
        meaning=(
            "One status in a delivery report. Most reports have one status; those of the same "
            "report share report_id."
        ),
        path="delivery_reports",
        rows="statuses",
        columns={
            **_EVENT,
            "report_id": Column(
                TEXT, "The report: the event_id of its first status and of its messages"
            ),
            "code": Column(TEXT, "Code of the status, for example 100 for delivered"),
            "code_meaning": Column(
                TEXT, "Meaning of the code in the vendor's table; NULL if it is not there"
            ),
            "status": Column(TEXT, "Status as the service words it"),
            "count": Column(BIGINT, "Number of messages with the status"),
            "success": Column(BOOLEAN, "Whether the messages were delivered"),
            "bounce": Column(BOOLEAN, "Whether the messages bounced"),
            "total_messages": Column(BIGINT, "Number of messages in the report"),
        },
        key=("event_id",),
        lists={
            "recipients": ChildList(
                item="recipient",
                meaning="One recipient with the status of a delivery report.",
                columns={
                    "recipient": Column(TEXT, "Phone number of the recipient", Personal.PHONE)
                },
                key=("recipient",),
                text="recipient",
                table_name="delivery_report_recipients",
            ),
            "messages": ChildList(
                item="message",
                meaning=(
                    "One message of a delivery report. Its event_id is the report_id of the "
                    "statuses of the report."
                ),
                columns={
                    "message_id": Column(TEXT, "The message: messages.id"),
                    "from": Column(TEXT, "Number that the message was sent from"),
                    "message": Column(TEXT, "Text of the message, verbatim", Personal.FREE_TEXT),
                    "phone_number": Column(TEXT, "Phone number of the recipient", Personal.PHONE),
                },
                key=("message_id",),
                aliases={"id": "message_id"},
                lists={
                    "metadata": ChildList(
                        item="metadata",
                        meaning=(
                            "One entry in the metadata of a message. Its columns are those that "
                            "the sender of the message has set."
                        ),
                        columns={},
                    )
                },
                table_name="delivery_report_messages",
            ),
        },
        webhook=Webhook(
            required=("statuses",),
            distinct="messages/id",
            meanings={"code_meaning": ("code", DELIVERY_CODES)},
            body_id="report_id",
        ),
    ),
    Endpoint(
        name="contact_status_changes",
        entity="contact_status_change",
        meaning="One change of a contact's status, from data of the carriers.",
        path="contact_status_changes",
        rows=".",
        columns={
            **_EVENT,
            **_CONTACT,
            "previous_phone_number": Column(
                TEXT, "Phone number before the contact was transferred", Personal.PHONE
            ),
            "status": Column(TEXT, "New status: suspended, deactivated, resumed or transferred"),
            **_TIMES,
        },
        key=("event_id",),
        aliases={"id": "contact_id"},
        webhook=Webhook(required=("id", "status"), distinct="updated_at"),
    ),
    Endpoint(
        name="bounces",
        entity="bounce",
        meaning="One message that bounced, by its contact; from data of the carriers.",
        path="bounces",
        rows=".",
        columns={
            **_EVENT,
            **_CONTACT,
            "unsubscribed_at": _UNSUBSCRIBED_AT,
            "bounces": Column(BIGINT, "Number of messages to the contact that bounced so far"),
            **_TIMES,
        },
        key=("event_id",),
        aliases={"id": "contact_id"},
        webhook=Webhook(required=("id", "bounces"), distinct="updated_at"),
    ),
    # A rejection names neither a contact nor a time.
    Endpoint(
        name="rejections",
        entity="rejection",
        meaning=(
            "One message that came back as failed. Equal rejections that are received within the "
            "same hour are one row, because nothing tells them from a body that is posted twice."
        ),
        path="rejections",
        rows=".",
        columns={
            **_EVENT,
            "code": Column(TEXT, "Code of the status"),
            "message": Column(TEXT, "Text of the message, verbatim", Personal.FREE_TEXT),
            "description": Column(TEXT, "Why the message was rejected"),
        },
        key=("event_id",),
        webhook=Webhook(required=("code", "message", "description")),
    ),
)
