{{
    config(
        alias='messages',
        materialized='incremental',
        unique_key='message_key',
        on_schema_change='sync_all_columns',
        post_hook="
            {% if is_incremental() %}
            -- What is gone from a service's table, such as the messages of an erased person, is gone here.
            delete from {{ this }}
            where message_key not in (select message_key from {{ ref('int_textlift__messages') }})
            {% endif %}
        "
    )
}}

with

loaded as (

    select messages.*
    from {{ ref('int_textlift__messages') }} as messages
    {% if is_incremental() %}
    -- A row that is loaded again has another load package.
    left join {{ this }} as stored
        on messages.message_key = stored.message_key
        and messages.load_id = stored.load_id
    where stored.message_key is null
    {% endif %}

),

encoded as (

    select
        *,
        case
            when channel <> 'sms' or text is null then null
            when {{ textlift.needs_ucs2('text') }} then 'UCS-2'
            else 'GSM-7'
        end as encoding
    from loaded

),

measured as (

    select
        *,
        case
            when encoding = 'GSM-7' then {{ textlift.gsm_places('text') }}
            when encoding = 'UCS-2' then {{ textlift.ucs2_places('text') }}
        end as places
    from encoded

)

select
    message_key,
    service,
    message_id,
    direction,
    channel,
    sent_at,
    contact_key,
    status,
    service_status,
    text,
    encoding,
    cast(
        case
            when encoding = 'GSM-7' and places <= 160 then 1
            when encoding = 'GSM-7' then ceil(places / 153.0)
            when encoding = 'UCS-2' and places <= 70 then 1
            when encoding = 'UCS-2' then ceil(places / 67.0)
        end
    as {{ dbt.type_bigint() }}) as segments,
    is_opt_out,
    campaign_id,
    campaign_name,
    broadcast_key,
    keyword,
    carrier,
    load_id
from measured
