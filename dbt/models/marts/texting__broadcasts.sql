{{ config(alias='broadcasts') }}

with

recipients as (

    select
        broadcast_key,
        coalesce(contact_key, message_key) as recipient,
        max(case when status = 'delivered' then 1 else 0 end) as delivered,
        min(case when status = 'failed' then 1 else 0 end) as failed
    from {{ ref('texting__messages') }}
    where direction = 'outbound' and broadcast_key is not null
    group by broadcast_key, coalesce(contact_key, message_key)

),

messages as (

    select broadcast_key, count(*) as recipients, sum(delivered) as delivered, sum(failed) as failed
    from recipients
    group by broadcast_key

),

people as (

    select broadcast_key, contact_key, kind, count(*) as times, min(seconds) as seconds
    from {{ ref('int_textlift__responses') }}
    group by broadcast_key, contact_key, kind

),

responses as (

    select
        broadcast_key,
        sum(case when kind = 'reply' then 1 else 0 end) as replies,
        sum(case when kind = 'opt_out' then 1 else 0 end) as opt_outs,
        sum(case when kind = 'click' then times else 0 end) as clicks
    from people
    group by broadcast_key

),

ranked as (

    select
        broadcast_key,
        seconds,
        row_number() over (partition by broadcast_key order by seconds, contact_key) as place,
        count(*) over (partition by broadcast_key) as places
    from people
    where kind = 'reply'

),

medians as (

    -- The one in the middle, or the mean of the two there.
    select broadcast_key, avg(seconds) as median_response_seconds
    from ranked
    where 2 * place between places and places + 2
    group by broadcast_key

)

select
    broadcasts.broadcast_key,
    broadcasts.service,
    broadcasts.broadcast_id,
    broadcasts.name,
    broadcasts.text,
    broadcasts.status,
    broadcasts.campaign_id,
    broadcasts.campaign_name,
    broadcasts.sent_at,
    {%- for name in ['recipients', 'delivered', 'failed'] %}
    cast(case when broadcasts.has_messages then coalesce(messages.{{ name }}, 0) end as {{ dbt.type_bigint() }}) as {{ name }},
    {%- endfor %}
    {%- for name in ['replies', 'opt_outs', 'clicks'] %}
    cast(case when broadcasts.has_messages then coalesce(responses.{{ name }}, 0) end as {{ dbt.type_bigint() }}) as {{ name }},
    {%- endfor %}
    medians.median_response_seconds,
    broadcasts.reported_recipients,
    broadcasts.reported_replies,
    broadcasts.reported_opt_outs
from {{ ref('int_textlift__broadcasts') }} as broadcasts
left join messages
    on broadcasts.broadcast_key = messages.broadcast_key
left join responses
    on broadcasts.broadcast_key = responses.broadcast_key
left join medians
    on broadcasts.broadcast_key = medians.broadcast_key
