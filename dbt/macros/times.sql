{# The type of a moment in time: with time zone. #}
{% macro type_time() -%}
    {{ adapter.dispatch('type_time', 'textlift')() }}
{%- endmacro %}

{% macro default__type_time() -%} timestamp with time zone {%- endmacro %}
{% macro bigquery__type_time() -%} timestamp {%- endmacro %}
{% macro snowflake__type_time() -%} timestamp_tz {%- endmacro %}

{# The day of a moment in UTC, whatever the time zone of the session. #}
{% macro utc_day(moment) -%}
    {{ adapter.dispatch('utc_day', 'textlift')(moment) }}
{%- endmacro %}

{% macro default__utc_day(moment) -%} cast({{ moment }} at time zone 'UTC' as date) {%- endmacro %}
{% macro bigquery__utc_day(moment) -%} date({{ moment }}, 'UTC') {%- endmacro %}
{% macro snowflake__utc_day(moment) -%} to_date(convert_timezone('UTC', {{ moment }})) {%- endmacro %}

{# Seconds since 1970. The difference of two is exact; that of two times with time zone can be a day of the session's time zone, which
   does not always have 24 hours. #}
{% macro epoch(moment) -%}
    {{ adapter.dispatch('epoch', 'textlift')(moment) }}
{%- endmacro %}

{% macro default__epoch(moment) -%} extract(epoch from {{ moment }}) {%- endmacro %}
{% macro bigquery__epoch(moment) -%} (unix_micros({{ moment }}) / 1000000) {%- endmacro %}
{% macro snowflake__epoch(moment) -%} (date_part(epoch_microsecond, {{ moment }}) / 1000000) {%- endmacro %}

{# A day some days later. #}
{% macro days_after(day, days) -%}
    {{ adapter.dispatch('days_after', 'textlift')(day, days) }}
{%- endmacro %}

{% macro default__days_after(day, days) -%} cast({{ dbt.dateadd('day', days, day) }} as date) {%- endmacro %}
{% macro postgres__days_after(day, days) -%} ({{ day }} + cast({{ days }} as integer)) {%- endmacro %}
{% macro duckdb__days_after(day, days) -%} ({{ day }} + cast({{ days }} as integer)) {%- endmacro %}
