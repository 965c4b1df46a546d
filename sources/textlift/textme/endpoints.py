"""The endpoints of TextMe, and the tables that they load.

Source: the vendor's page "TextMe API Documentation". The comment above each endpoint names its
section there. No endpoint has windows, so each run reads all rows, and rows that left are gone.
"""

from __future__ import annotations

from textlift.codec.dialects import XmlDialect
from textlift.declare import ChildList, Column, Endpoint, Paging, Parent, Personal
from textlift.declare import ColumnType as Type

#: HTTP statuses of a campaign that is gone, or that is not of the type requested.
NOT_FOUND = frozenset({404, 422})
PAGE_SIZE = 250

#: Rails describes values by attributes, and prints long ones between blanks and line breaks.
DIALECT = XmlDialect(described_by=frozenset({"type", "nil"}), padded=True, empty_list="nil-classes")

_CAMPAIGN_ID = Column(Type.BIGINT, "Campaign: campaigns.id")
_PHONE = Column(Type.TEXT, "Mobile number of the person", Personal.PHONE)
_SUBSCRIBER = {
    "mobile_phone": _PHONE,
    "email": Column(Type.TEXT, "E-mail address", Personal.EMAIL),
    "first_name": Column(Type.TEXT, "First name", Personal.NAME),
    "last_name": Column(Type.TEXT, "Last name", Personal.NAME),
    "gender": Column(Type.TEXT, "Gender, as the service prints it", Personal.IDENTIFIER),
    "birthday_on": Column(Type.DATE, "Date of birth", Personal.IDENTIFIER),
    "postal_code": Column(Type.TEXT, "Postal code", Personal.ADDRESS),
    "carrier_id": Column(Type.BIGINT, "Carrier of the mobile: carriers.id"),
    "timezone_id": Column(Type.BIGINT, "Id of the person's time zone, which no table lists"),
}
#: The campaigns of a type. Each type has calls of its own.
_TIMED, _SUB, _VOTE = (
    Parent("campaigns", column="campaign_id", where=("campaign_type", code))
    for code in ("TIMED", "SUB", "VOTE")
)

# Campaign API Methods, List. The vendor's sample of a call without a status has no deleted one.
CAMPAIGNS = Endpoint(
    name="campaigns",
    entity="campaign",
    meaning="One campaign of the configured accounts, also a past or a deleted one.",
    path="api/campaigns.xml",
    rows="campaigns/campaign",
    columns={
        "id": Column(Type.BIGINT, "Id of the campaign at TextMe"),
        "description": Column(Type.TEXT, "Description of the campaign"),
        "keyword": Column(Type.TEXT, "Word that people text to the campaign"),
        "account_id": Column(Type.BIGINT, "Account of the campaign: accounts.id"),
        "status": Column(Type.TEXT, "Status: active, future, past or deleted"),
        "campaign_type": Column(Type.TEXT, "Type, for example SUB, VOTE, TIMED or INFO"),
    },
    aliases={"campaign_type__code": "campaign_type"},
    variants=({}, {"status": "deleted"}),
)

ENDPOINTS = (
    # Account API Methods, List.
    Endpoint(
        name="accounts",
        entity="account",
        meaning="One account: the primary account of the login, or one that it manages.",
        path="api/accounts.xml",
        rows="accounts/account",
        columns={
            "id": Column(Type.BIGINT, "Id of the account at TextMe"),
            "active": Column(Type.BOOLEAN, "Whether the account is active"),
            "managed_by_account_id": Column(Type.BIGINT, "Account that manages it: accounts.id"),
            "name": Column(Type.TEXT, "Name of the account"),
            "timezone__code": Column(Type.TEXT, "Time zone of the account, for example CST"),
        },
    ),
    # Carrier API Methods, List. "A special feature that is enabled on a per-account basis."
    Endpoint(
        name="carriers",
        entity="carrier",
        meaning="One carrier. An account without the carrier feature has no such table.",
        path="app/carriers.xml",
        rows="carriers/carrier",
        columns={
            "id": Column(Type.BIGINT, "Id of the carrier at TextMe"),
            "name": Column(Type.TEXT, "Name of the carrier"),
        },
        optional=True,
    ),
    CAMPAIGNS,
    # Timed Campaign API Methods, Show.
    Endpoint(
        name="timed_campaigns",
        entity="timed_campaign",
        meaning="The settings of one campaign of type TIMED.",
        path="api/timed_campaigns/{campaign_id}.xml",
        rows=".",
        columns={
            "id": Column(Type.BIGINT, "Id of the timed campaign at TextMe"),
            "campaign_id": _CAMPAIGN_ID,
            "created_at": Column(Type.TIMESTAMP, "When the timed campaign was created, UTC"),
            "updated_at": Column(Type.TIMESTAMP, "When the timed campaign last changed, UTC"),
            "opt_in_sms_message": Column(Type.TEXT, "Text to a person who opts in"),
            "opt_out_sms_message": Column(Type.TEXT, "Text to a person who opts out"),
            "subsequent_opt_in_attempt_sms_message": Column(Type.TEXT, "Text to another opt-in"),
        },
        content=("campaign-id",),
        parent=_TIMED,
        not_found_codes=NOT_FOUND,
    ),
    # Timed Campaign API Methods, Participants. The size of a page is fixed.
    Endpoint(
        name="timed_campaign_participants",
        entity="timed_campaign_participant",
        meaning="One participant of a campaign of type TIMED. A person who left has no row.",
        path="api/timed_campaigns/{campaign_id}/participants.xml",
        rows="timed-campaign-users/timed-campaign-user",
        columns={
            "campaign_id": _CAMPAIGN_ID,
            "mobile_phone": _PHONE,
            "created_at": Column(Type.TIMESTAMP, "When the person joined the campaign, UTC"),
            "timing_sequence_start_at": Column(Type.TIMESTAMP, "When the texts start, UTC"),
            "timing_sequence_end_at": Column(Type.TIMESTAMP, "When the texts end, UTC"),
        },
        key=("participant_key",),
        identity=("campaign_id", "mobile_phone", "created_at", "timing_sequence_start_at"),
        aliases={"user__mobile_phone": "mobile_phone"},
        paging=Paging.OPEN,
        page_limit=PAGE_SIZE,
        parent=_TIMED,
        not_found_codes=NOT_FOUND,
    ),
    # Subscription Campaign API Methods, List.
    Endpoint(
        name="subscriptions",
        entity="subscription",
        meaning="One subscriber of a campaign of type SUB. A person who left has no row.",
        path="api/subscription_campaigns/{campaign_id}/subscriptions.xml",
        rows="subscriptions/subscription",
        columns={
            "campaign_id": _CAMPAIGN_ID,
            "confirmed_at": Column(Type.TIMESTAMP, "When the person confirmed by a reply, UTC"),
            "opt_in_at": Column(Type.TIMESTAMP, "When the person was opted in, UTC"),
            **_SUBSCRIBER,
        },
        key=("subscription_key",),
        identity=("campaign_id", "mobile_phone", "opt_in_at"),
        aliases={f"user__{name}": name for name in _SUBSCRIBER},
        parent=_SUB,
        not_found_codes=NOT_FOUND,
    ),
    # Vote Campaign API Methods, Show.
    Endpoint(
        name="vote_campaigns",
        entity="vote_campaign",
        meaning="The question of one campaign of type VOTE.",
        path="api/vote_campaigns/{campaign_id}.xml",
        rows=".",
        columns={
            "id": Column(Type.BIGINT, "Id of the vote campaign at TextMe"),
            "campaign_id": _CAMPAIGN_ID,
            "question": Column(Type.TEXT, "Question that people vote on"),
            "description": Column(Type.TEXT, "Description of the vote campaign"),
            "start_at": Column(Type.TIMESTAMP, "When the vote starts, UTC"),
            "end_at": Column(Type.TIMESTAMP, "When the vote ends, UTC"),
        },
        aliases={"vote_campaign_id": "id"},
        lists={
            "vote_campaign_options": ChildList(
                item="vote_campaign_option",
                meaning="One option of a vote, with its votes as of the last run.",
                columns={
                    "option_name": Column(Type.TEXT, "Name of the option"),
                    "option_keyword": Column(Type.TEXT, "Word that is a vote for the option"),
                    "option_vote_count": Column(Type.BIGINT, "Number of votes for the option"),
                },
                key=("option_keyword",),
                lists={
                    "option_aliases": ChildList(
                        item="option_alias",
                        meaning="One more word that counts as a vote for an option.",
                        columns={"alias": Column(Type.TEXT, "The word")},
                        key=("alias",),
                        text="alias",
                        table="aliases",
                    )
                },
                table="options",
            )
        },
        content=("vote_campaign_id",),
        parent=_VOTE,
        not_found_codes=NOT_FOUND,
    ),
)
