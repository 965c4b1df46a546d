"""The SQL of each figure, for DuckDB and PostgreSQL. Days and months are of UTC."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent

from textlift.dashboard import MODELS
from textlift.dashboard.filters import Filters, conditions, literal
from textlift.load.rejects import REJECTED_RECORDS
from textlift.load.runs import FAILED, LOAD_RUNS, LOADED

#: The models that these queries read.
USED = frozenset(["audience_by_day", "broadcasts", "contacts", "daily_activity", "messages"])
#: Rows of the longest lists.
MOST_ROWS = 200

#: Counts of the messages that pages show, for rows of ``messages``.
_STATUSES = """\
count(*) AS sent,
       sum(CASE WHEN status = 'delivered' THEN 1 ELSE 0 END) AS delivered,
       sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed"""


def _utc(moment: str) -> str:
    """Return a time without time zone, as it is in UTC."""
    return f"{moment} AT TIME ZONE 'UTC'"


def _begin(step: str, day: str) -> str:
    """Return the first day of the day's step."""
    return f"CAST(date_trunc('{step}', {day}) AS date)"


# --- Health


def _of_datasets(table: str, columns: str, datasets: Mapping[str, str]) -> str:
    """Return a query of the rows of a table in several datasets.

    Args:
        table: The table.
        columns: What is selected of it.
        datasets: Schema → its name in SQL.
    """
    each = [
        f"SELECT {literal(schema)} AS service, {columns} FROM {name}.{table}"
        for schema, name in datasets.items()
    ]
    return indent("\nUNION ALL ".join(each), "    ")


def _runs(datasets: Mapping[str, str], filters: Filters | None = None) -> str:
    """Return a table of the rows of ``load_runs`` of several datasets."""
    columns = (
        f"run_id, resource, {_utc('started_at')} AS started_at, {_utc('ended_at')} AS ended_at, "
        f'"rows", requests, retries, rejected, {_utc("window_end")} AS read_up_to, outcome, message'
    )
    rows = _of_datasets(LOAD_RUNS, columns, datasets)
    if filters is None:
        return f"WITH runs AS (\n{rows}\n)"
    day = "CAST(started_at AS date)"
    return f"WITH all_runs AS (\n{rows}\n), runs AS (\n    SELECT * FROM all_runs WHERE {filters.on(day)}\n)"


def services(datasets: Mapping[str, str]) -> str:
    """The last run of each service, and how far it has read."""
    return f"""\
{_runs(datasets)}, each_run AS (
    SELECT service, run_id, min(started_at) AS started_at, max(ended_at) AS ended_at,
           sum("rows") AS loaded_rows, sum(CASE WHEN outcome = '{FAILED}' THEN 1 ELSE 0 END) AS failed,
           row_number() OVER (PARTITION BY service ORDER BY min(started_at) DESC, run_id) AS place
    FROM runs
    GROUP BY service, run_id
), good AS (
    SELECT service, max(ended_at) AS loaded_at, max(read_up_to) AS read_up_to
    FROM runs
    WHERE outcome = '{LOADED}'
    GROUP BY service
)
SELECT service, started_at AS last_run, failed AS failed_resources, loaded_rows, loaded_at, read_up_to
FROM each_run
LEFT JOIN good USING (service)
WHERE place = 1
ORDER BY service"""


def recent_runs(datasets: Mapping[str, str], filters: Filters) -> str:
    """The runs of a range, the newest first."""
    return f"""\
{_runs(datasets, filters)}
SELECT service, min(started_at) AS started_at, max(ended_at) AS ended_at, count(*) AS resources,
       sum(CASE WHEN outcome = '{FAILED}' THEN 1 ELSE 0 END) AS failed, sum("rows") AS loaded_rows,
       sum(requests) AS requests, sum(retries) AS retries, sum(rejected) AS rejected
FROM runs
GROUP BY service, run_id
ORDER BY started_at DESC, service
LIMIT {MOST_ROWS}"""


def freshness(datasets: Mapping[str, str]) -> str:
    """When each resource was loaded last, the oldest first."""
    return f"""\
{_runs(datasets)}
SELECT service, resource, max(CASE WHEN outcome = '{LOADED}' THEN ended_at END) AS loaded_at,
       max(CASE WHEN outcome = '{LOADED}' THEN read_up_to END) AS read_up_to,
       max(CASE WHEN outcome = '{FAILED}' THEN ended_at END) AS failed_at
FROM runs
WHERE outcome IN ('{LOADED}', '{FAILED}')
GROUP BY service, resource
ORDER BY loaded_at NULLS FIRST, service, resource"""


def failures(datasets: Mapping[str, str], filters: Filters) -> str:
    """The resources that were not loaded, the newest first."""
    return f"""\
{_runs(datasets, filters)}
SELECT service, started_at, resource, message
FROM runs
WHERE outcome = '{FAILED}'
ORDER BY started_at DESC, service, resource
LIMIT {MOST_ROWS}"""


def rejects(datasets: Mapping[str, str]) -> str:
    """The values and records that could not be loaded, by reason."""
    columns = f"resource, column_name, reason, {_utc('rejected_at')} AS rejected_at, resolved_at"
    return f"""\
WITH rejects AS (
{_of_datasets(REJECTED_RECORDS, columns, datasets)}
)
SELECT service, resource, column_name, reason,
       sum(CASE WHEN resolved_at IS NULL THEN 1 ELSE 0 END) AS unresolved,
       count(resolved_at) AS resolved, max(rejected_at) AS last_rejected_at
FROM rejects
GROUP BY service, resource, column_name, reason
ORDER BY unresolved DESC, service, resource, column_name, reason
LIMIT {MOST_ROWS}"""


# --- What can be chosen


def known_services() -> str:
    """The services that have rows in the models."""
    return f"""\
SELECT service FROM {MODELS}.daily_activity
UNION SELECT service FROM {MODELS}.contacts
UNION SELECT service FROM {MODELS}.broadcasts
ORDER BY service"""


def campaigns() -> str:
    """The campaigns that a page can be limited to."""
    return f"""\
SELECT service, campaign_id, coalesce(max(campaign_name), 'Without a name') AS campaign_name
FROM {MODELS}.daily_activity
WHERE campaign_id IS NOT NULL
GROUP BY service, campaign_id
ORDER BY campaign_name, service, campaign_id"""


# --- Audience


def _lists(filters: Filters) -> str:
    """Return a condition that counts a person once: in a campaign, or in all of a service."""
    return "list_type = 'campaign'" if filters.campaign else "list_type = 'service'"


def _audience(filters: Filters, lists: str) -> str:
    return conditions(lists, filters.of_campaign(), filters.on("date_day"))


def audience(filters: Filters) -> str:
    """How many people were subscribed at the end, joined and left."""
    return f"""\
SELECT sum(CASE WHEN date_day = last_day THEN active ELSE 0 END) AS active,
       sum(gained) AS gained, sum(lost) AS lost, sum(gained) - sum(lost) AS net
FROM (
    SELECT *, max(date_day) OVER (PARTITION BY service, campaign_id) AS last_day
    FROM {MODELS}.audience_by_day
    WHERE {_audience(filters, _lists(filters))}
) AS days"""


def audience_by_month(filters: Filters) -> str:
    """How many people joined and left in each month."""
    return f"""\
SELECT {_begin("month", "date_day")} AS month,
       sum(gained) AS gained, sum(lost) AS lost, sum(gained) - sum(lost) AS net
FROM {MODELS}.audience_by_day
WHERE {_audience(filters, _lists(filters))}
GROUP BY 1
ORDER BY 1"""


def subscribers(filters: Filters) -> str:
    """How many people were subscribed at the end of each day or month."""
    return f"""\
SELECT {_begin(filters.step, "date_day")} AS {filters.step}, service, sum(active) AS active
FROM (
    SELECT *, row_number() OVER (
               PARTITION BY service, campaign_id, date_trunc('{filters.step}', date_day)
               ORDER BY date_day DESC
           ) AS place
    FROM {MODELS}.audience_by_day
    WHERE {_audience(filters, _lists(filters))}
) AS days
WHERE place = 1
GROUP BY 1, 2
ORDER BY 1, 2"""


def audience_by_campaign(filters: Filters) -> str:
    """How many people joined and left each campaign in each month, the newest month first."""
    return f"""\
SELECT {_begin("month", "date_day")} AS month, service,
       coalesce(max(campaign_name), 'All') AS campaign,
       sum(gained) AS gained, sum(lost) AS lost, sum(gained) - sum(lost) AS net
FROM {MODELS}.audience_by_day
WHERE {_audience(filters, "list_type <> 'service'")}
GROUP BY 1, service, campaign_id
HAVING sum(gained) + sum(lost) > 0
ORDER BY 1 DESC, service, campaign, campaign_id"""


# --- Messages


def _sent(filters: Filters) -> str:
    return conditions("direction = 'outbound'", filters.of_campaign(), filters.at("sent_at"))


def activity(filters: Filters) -> str:
    """Counts of messages."""
    return f"""\
SELECT sum(messages_sent) AS sent, sum(messages_delivered) AS delivered,
       sum(messages_failed) AS failed, sum(messages_received) AS received,
       sum(segments_sent) AS segments, sum(opt_outs) AS opt_outs
FROM {MODELS}.daily_activity
WHERE {conditions(filters.of_campaign(), filters.on("date_day"))}"""


def messages_by_status(filters: Filters) -> str:
    """Sent messages of each day or month, by what became of them."""
    day = f"CAST({_utc('sent_at')} AS date)"
    return f"""\
SELECT {_begin(filters.step, day)} AS {filters.step}, status, count(*) AS messages
FROM {MODELS}.messages
WHERE {_sent(filters)}
GROUP BY 1, 2
ORDER BY 1, 2"""


def messages_by_day(filters: Filters) -> str:
    """Messages of each day or month."""
    return f"""\
SELECT {_begin(filters.step, "date_day")} AS {filters.step}, sum(messages_sent) AS sent,
       sum(messages_delivered) AS delivered, sum(messages_failed) AS failed,
       sum(messages_received) AS received, sum(segments_sent) AS segments
FROM {MODELS}.daily_activity
WHERE {conditions(filters.of_campaign(), filters.on("date_day"))}
GROUP BY 1
ORDER BY 1 DESC"""


def messages_by_carrier(filters: Filters) -> str:
    """Sent messages of each carrier, and how many of them arrived."""
    return f"""\
SELECT service, coalesce(carrier, 'not stated') AS carrier,
       {_STATUSES},
       1.0 * sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) / count(*) AS failure_rate
FROM {MODELS}.messages
WHERE {_sent(filters)}
GROUP BY 1, 2
ORDER BY sent DESC, service, carrier"""


# --- Broadcasts


_RATES = """\
       1.0 * delivered / nullif(recipients, 0) AS delivery_rate,
       1.0 * replies / nullif(recipients, 0) AS reply_rate,
       1.0 * opt_outs / nullif(recipients, 0) AS opt_out_rate"""


def broadcasts(filters: Filters) -> str:
    """The broadcasts that were sent, the newest first."""
    return f"""\
SELECT broadcast_key, {_utc("sent_at")} AS sent_at, service, name, campaign_name AS campaign,
       recipients, delivered, failed, replies, opt_outs, clicks, median_response_seconds,
{_RATES}
FROM {MODELS}.broadcasts
WHERE {conditions("status NOT IN ('draft', 'scheduled')", filters.of_campaign(), filters.at("sent_at"))}
ORDER BY sent_at DESC, broadcast_key"""


def broadcast(key: str) -> str:
    """One broadcast."""
    return f"""\
SELECT service, name, text, status, campaign_name, {_utc("sent_at")} AS sent_at,
       recipients, delivered, failed, replies, opt_outs, clicks, median_response_seconds,
{_RATES},
       reported_recipients, reported_replies, reported_opt_outs
FROM {MODELS}.broadcasts
WHERE broadcast_key = {literal(key)}"""


def broadcast_messages(key: str) -> str:
    """The messages of a broadcast, by carrier."""
    return f"""\
SELECT coalesce(carrier, 'not stated') AS carrier,
       {_STATUSES}
FROM {MODELS}.messages
WHERE direction = 'outbound' AND broadcast_key = {literal(key)}
GROUP BY 1
ORDER BY sent DESC, carrier"""


def broadcast_answers(key: str) -> str:
    """What recipients of a broadcast wrote in the 24 hours after it, by hour."""
    seconds = "extract(epoch FROM answers.sent_at) - extract(epoch FROM recipients.sent_at)"
    return f"""\
WITH recipients AS (
    SELECT contact_key, min(sent_at) AS sent_at
    FROM {MODELS}.messages
    WHERE direction = 'outbound' AND broadcast_key = {literal(key)}
    GROUP BY contact_key
), answers AS (
    SELECT answers.is_opt_out, {seconds} AS seconds
    FROM recipients
    INNER JOIN {MODELS}.messages AS answers ON answers.contact_key = recipients.contact_key
    WHERE answers.direction = 'inbound' AND answers.sent_at > recipients.sent_at
)
SELECT CAST(floor(seconds / 3600) AS integer) AS hours,
       CASE WHEN is_opt_out THEN 'opt-out' ELSE 'other' END AS kind, count(*) AS messages
FROM answers
WHERE seconds >= 1 AND seconds <= 24 * 3600
GROUP BY 1, 2
ORDER BY 1, 2"""


# --- All services


def all_services(filters: Filters) -> str:
    """People and activity of each service."""
    people = filters.of_service() or "1 = 1"
    chosen = conditions(filters.of_campaign(), filters.on("date_day"))
    return f"""\
WITH people AS (
    SELECT service, count(*) AS people, sum(CASE WHEN status = 'active' THEN 1 ELSE 0 END) AS active
    FROM {MODELS}.contacts
    WHERE {people}
    GROUP BY service
), activity AS (
    SELECT service, sum(messages_sent) AS sent, sum(messages_delivered) AS delivered,
           sum(messages_failed) AS failed, sum(messages_received) AS received,
           sum(opt_outs) AS opt_outs, sum(clicks) AS clicks, sum(calls) AS calls
    FROM {MODELS}.daily_activity
    WHERE {chosen}
    GROUP BY service
)
SELECT service, people, active, sent, delivered, failed, received, opt_outs, clicks, calls
FROM people
FULL JOIN activity USING (service)
ORDER BY service"""


def activity_by_service(filters: Filters) -> str:
    """Sent messages of each service by month."""
    return f"""\
SELECT {_begin("month", "date_day")} AS month, service, sum(messages_sent) AS sent,
       sum(messages_received) AS received
FROM {MODELS}.daily_activity
WHERE {conditions(filters.of_campaign(), filters.on("date_day"))}
GROUP BY 1, 2
ORDER BY 1, 2"""


def shared_people(filters: Filters) -> str:
    """How many people several services know."""
    return f"""\
SELECT services, count(*) AS people
FROM (
    SELECT person_key, count(DISTINCT service) AS services
    FROM {MODELS}.contacts
    WHERE {filters.of_service() or "1 = 1"}
    GROUP BY person_key
) AS persons
GROUP BY services
ORDER BY services"""
