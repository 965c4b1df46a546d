with

events as (

    select service, contact_key, sent_at as opted_out_at, campaign_id, campaign_name
    from {{ ref('texting__messages') }}
    where is_opt_out and contact_key is not null
    union all
    select service, contact_key, left_at as opted_out_at, campaign_id, campaign_name
    from {{ ref('texting__subscriptions') }}
    where status = 'opted_out' and left_at is not null and contact_key is not null

),

numbered as (

    select
        *,
        -- Of what happens at once, the first campaign by its id is the one.
        lag(opted_out_at) over (partition by contact_key order by opted_out_at, campaign_id) as previous_at
    from events

)

-- A text and the subscriptions that end because of it are one opt-out.
select service, contact_key, opted_out_at, campaign_id, campaign_name
from numbered
where previous_at is null or {{ textlift.epoch('opted_out_at') }} - {{ textlift.epoch('previous_at') }} > 24 * 3600
