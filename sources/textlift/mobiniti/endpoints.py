"""The endpoints of Mobiniti, and the tables that they load.

Source: the vendor's page "API Documentation", version 1. The comment above each endpoint begins with
the title of its section there. The page prints few columns; the others are those of public clients.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from textlift.codec.dialects import JsonDialect
from textlift.declare import (
    ChildList,
    Column,
    ColumnType,
    Endpoint,
    Incremental,
    Owner,
    Paging,
    Parent,
    Personal,
    SortedList,
    TimeRange,
)
from textlift.mobiniti.webhooks import WEBHOOKS

BIGINT = ColumnType.BIGINT
BOOLEAN = ColumnType.BOOLEAN
DATE = ColumnType.DATE
TEXT = ColumnType.TEXT
TIMESTAMP = ColumnType.TIMESTAMP

NAME = Personal.NAME
PHONE = Personal.PHONE
EMAIL = Personal.EMAIL
FREE_TEXT = Personal.FREE_TEXT
IDENTIFIER = Personal.IDENTIFIER

NOT_FOUND = 404

DIALECT = JsonDialect(
    page_count="meta/pagination/total_pages", total="meta/pagination/total", wrapper="data"
)
#: Resource → the scope that a token needs.
SCOPES = {
    "contacts": "contacts.view",
    "groups": "groups.view",
    "group_contacts": "groups.view",
    "messages": "messages.view",
    "scheduled_messages": "message.schedule.view",
    "campaigns": "campaigns.view",
    "campaign_templates": "campaigns.view",
    "coupons": "coupons.view",
    "coupon_templates": "coupons.view",
    "carriers": "carriers.view",
    "opt_ins": "optins.view",
}

_list = partial(Endpoint, rows="data", paging=Paging.COUNTED, page_limit=100)

_CREATED_AT = Column(TIMESTAMP, "When the row was created at Mobiniti, UTC")
_UPDATED_AT = Column(TIMESTAMP, "When the row last changed at Mobiniti, UTC")
_TIMES = {"created_at": _CREATED_AT, "updated_at": _UPDATED_AT}
_STATUS = Column(TEXT, "Status of the contact, for example active or unsubscribed")
_CONTACT = {
    "first_name": Column(TEXT, "First name", NAME),
    "last_name": Column(TEXT, "Last name", NAME),
    "gender": Column(TEXT, "Gender, as the service has it", IDENTIFIER),
    "birth_date": Column(DATE, "Date of birth", IDENTIFIER),
    "phone_number": Column(TEXT, "Phone number", PHONE),
    "email": Column(TEXT, "E-mail address", EMAIL),
    "reward_points": Column(BIGINT, "Reward points of the contact"),
    "country_code": Column(TEXT, "Country of the phone number"),
    "status": _STATUS,
    "unsubscribed_at": Column(TIMESTAMP, "When the contact unsubscribed, UTC"),
    "carrier_id": Column(TEXT, "Mobile carrier: carriers.id"),
    "carrier__name": Column(TEXT, "Name of the mobile carrier"),
    **_TIMES,
}
_CAMPAIGN = {
    "name": Column(TEXT, "Name"),
    "to": Column(TEXT, "Whom the campaign is for"),
    "message": Column(TEXT, "Text of the message, verbatim"),
    "message_pending_contacts": Column(
        BOOLEAN, "Whether contacts who have not confirmed their opt-in get the message"
    ),
    "send_date": Column(TIMESTAMP, "When the message is sent, UTC"),
    **_TIMES,
}

#: The endpoints of the API.
REQUESTED = (
    # Contacts. They have an order but no window. A deleted contact is only missing from the list,
    # so all contacts are read again at an interval.
    _list(
        name="contacts",
        entity="contact",
        meaning=(
            "One person who joined the list of the account. A contact that is gone at the service "
            "keeps its row and gets removed_at."
        ),
        path="contacts",
        columns={
            "id": Column(TEXT, "Id of the contact at Mobiniti", IDENTIFIER),
            **_CONTACT,
            "removed_at": Column(
                TIMESTAMP,
                "When a complete read no longer returned the contact, UTC; NULL while it is listed",
            ),
        },
        aliases={"carrier__id": "carrier_id"},
        params={"include": "carrier"},
        incremental=Incremental("updated_at", lookback=timedelta(hours=1)),
        sorted_list=SortedList("sort", "-updated_at"),
        full_read_every=timedelta(days=7),
        removed_column="removed_at",
    ),
    # Groups.
    _list(
        name="groups",
        entity="group",
        meaning="One group of contacts.",
        path="groups",
        columns={
            "id": Column(TEXT, "Id of the group at Mobiniti"),
            "name": Column(TEXT, "Name of the group"),
            "join_message": Column(TEXT, "Message to a contact who joins, verbatim"),
            "one_time_message": Column(
                BOOLEAN, "Whether a contact gets the join message only once"
            ),
            "always_send_join": Column(BOOLEAN, "Whether the join message is always sent"),
            "always_send_optin": Column(BOOLEAN, "Whether the opt-in message is always sent"),
            "social_profiling": Column(BOOLEAN, "Whether social profiling is on"),
            "email_new_contact": Column(BOOLEAN, "Whether new contacts are reported by e-mail"),
            "keyword__id": Column(TEXT, "Id of the keyword that contacts join with"),
            "keyword__name": Column(TEXT, "The keyword; NULL if the group has none"),
            "optin_id": Column(TEXT, "Opt-in of the group: opt_ins.id"),
            "optin__name": Column(TEXT, "Name of the opt-in"),
            "optin__description": Column(TEXT, "Description of the opt-in"),
            "optin__enabled": Column(BOOLEAN, "Whether the opt-in is enabled"),
            **_TIMES,
        },
        aliases={"optin__id": "optin_id"},
        lists={
            "emails": ChildList(
                item="email",
                meaning="One e-mail address that new contacts of a group are reported to.",
                columns={"email": Column(TEXT, "The address", EMAIL)},
                key=("email",),
                text="email",
            )
        },
        params={"include": "keyword"},
    ),
    # Group Contacts. A contact who left is only missing from the list, so each group is read again.
    # Only this call returns custom fields. All else of a contact is in contacts.
    _list(
        name="group_contacts",
        entity="group_contact",
        meaning="One contact in one group. A contact who left the group is gone.",
        path="groups/{group_id}/contacts",
        columns={
            "group_id": Column(TEXT, "Group: groups.id"),
            "contact_id": Column(TEXT, "Contact: contacts.id", IDENTIFIER),
            "status": _STATUS,
        },
        key=("group_id", "contact_id"),
        aliases={"id": "contact_id"},
        lists={
            "fields": ChildList(
                item="field",
                meaning=(
                    "The value of one custom field of a contact. The service returns the fields of "
                    "contacts who are in a group."
                ),
                columns={
                    "id": Column(TEXT, "Id of the custom field"),
                    "name": Column(TEXT, "Name of the custom field"),
                    "value": Column(TEXT, "Its value for this contact", FREE_TEXT),
                },
                key=("name",),
                owner=Owner("contacts", "contact_id"),
            )
        },
        skip=frozenset({"carrier", "groups", *_CONTACT} - {"status"}),
        params={"include": "status,fields"},
        parent=Parent("groups", column="group_id"),
        not_found_codes=frozenset({NOT_FOUND}),
    ),
    # Messages. Receipts arrive for days after created_at.
    _list(
        name="messages",
        entity="message",
        meaning="One message, to a contact (OUTGOING) or from one (INCOMING).",
        path="messages",
        columns={
            "id": Column(TEXT, "Id of the message at Mobiniti"),
            "message": Column(TEXT, "Text of the message, verbatim", FREE_TEXT),
            "phone_number": Column(TEXT, "Phone number of the contact", PHONE),
            "type": Column(TEXT, "Direction: INCOMING from a contact, OUTGOING to a contact"),
            "read": Column(BOOLEAN, "Whether the message was read in the account"),
            "contact_id": Column(TEXT, "Contact: contacts.id", IDENTIFIER),
            "carrier_id": Column(TEXT, "Mobile carrier of the contact: carriers.id"),
            "receipt__code": Column(TEXT, "Code of the delivery, for example 100 for delivered"),
            "receipt__status": Column(TEXT, "What the code means"),
            "receipt__success": Column(BOOLEAN, "Whether the message was delivered"),
            "receipt__bounce": Column(BOOLEAN, "Whether the message bounced"),
            "receipt__created_at": Column(TIMESTAMP, "When the receipt arrived, UTC"),
            **_TIMES,
        },
        aliases={
            "contact_id": "contact_id",
            "contact__id": "contact_id",
            "contact__carrier__id": "carrier_id",
        },
        skip=frozenset({"contact"}),
        params={"include": "receipt,contact.carrier,type"},
        incremental=Incremental("created_at", lookback=timedelta(days=3)),
        time_range=TimeRange("created_at_min", "created_at_max"),
    ),
    # Scheduled Messages. The vendor's page and its own client disagree about the path.
    _list(
        name="scheduled_messages",
        entity="scheduled_message",
        meaning="One message that is to be sent later.",
        path="messages/schedule",
        alternative_paths=("message/schedule",),
        columns={
            "id": Column(TEXT, "Id of the scheduled message at Mobiniti"),
            "message": Column(TEXT, "Text of the message, verbatim", FREE_TEXT),
            "phone_number": Column(TEXT, "Phone number that the message goes to", PHONE),
            "send_date": Column(TIMESTAMP, "When the message is to be sent, UTC"),
            **_TIMES,
        },
    ),
    # Campaigns.
    _list(
        name="campaigns",
        entity="campaign",
        meaning="One campaign: a message to many contacts.",
        path="campaigns",
        columns={"id": Column(TEXT, "Id of the campaign at Mobiniti"), **_CAMPAIGN},
    ),
    # Campaign templates.
    _list(
        name="campaign_templates",
        entity="campaign_template",
        meaning="One template for campaigns.",
        path="campaigns/templates",
        columns={"id": Column(TEXT, "Id of the template at Mobiniti"), **_CAMPAIGN},
    ),
    # Coupons.
    _list(
        name="coupons",
        entity="coupon",
        meaning="One coupon that can be sent to contacts.",
        path="coupons",
        columns={
            "id": Column(TEXT, "Id of the coupon at Mobiniti"),
            "name": Column(TEXT, "Name of the coupon"),
            "offer": Column(TEXT, "What the coupon offers"),
            "gender": Column(TEXT, "Gender that the coupon is for"),
            "start": Column(TIMESTAMP, "From when on the coupon is valid, UTC"),
            "end": Column(TIMESTAMP, "Until when the coupon is valid, UTC"),
            "max_redemptions": Column(BIGINT, "How often the coupon can be redeemed"),
            "upc": Column(TEXT, "Universal product code"),
            "terms": Column(TEXT, "Terms of the coupon"),
            "mobile_wallets": Column(BOOLEAN, "Whether the coupon can be kept in mobile wallets"),
            "accent_color": Column(TEXT, "Color of the coupon"),
            "company_name": Column(TEXT, "Name of the company on the coupon"),
            "phone_number": Column(TEXT, "Phone number of the company", PHONE),
            "address1": Column(TEXT, "First line of the address of the company"),
            "address2": Column(TEXT, "Second line of the address of the company"),
            "template": Column(TEXT, "Template of the coupon: coupon_templates.id"),
            **_TIMES,
        },
    ),
    # Coupon Templates.
    _list(
        name="coupon_templates",
        entity="coupon_template",
        meaning="One design for coupons.",
        path="coupon_templates",
        columns={
            "id": Column(TEXT, "Id of the template at Mobiniti"),
            "name": Column(TEXT, "Name of the template"),
            **_TIMES,
        },
    ),
    # Carriers.
    _list(
        name="carriers",
        entity="carrier",
        meaning="One mobile carrier.",
        path="carriers",
        columns={
            "id": Column(TEXT, "Id of the carrier at Mobiniti"),
            "name": Column(TEXT, "Name of the carrier"),
            **_TIMES,
        },
    ),
    # Opt-in's.
    _list(
        name="opt_ins",
        entity="opt_in",
        meaning="One way to confirm that a contact wants messages.",
        path="opt-ins",
        columns={
            "id": Column(TEXT, "Id of the opt-in at Mobiniti"),
            "name": Column(TEXT, "Name of the opt-in"),
            "description": Column(TEXT, "Description of the opt-in"),
            "enabled": Column(BOOLEAN, "Whether the opt-in is enabled"),
        },
    ),
)
ENDPOINTS = (*REQUESTED, *WEBHOOKS)
