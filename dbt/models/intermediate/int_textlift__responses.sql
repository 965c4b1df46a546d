-- Each reply, opt-out and click of a person, with the broadcast that it belongs to.
with

sent as (

    -- Of several broadcasts in the same second, what follows belongs to one of them.
    select contact_key, sent_at, max(broadcast_key) as broadcast_key
    from {{ ref('texting__messages') }}
    where direction = 'outbound' and broadcast_key is not null and contact_key is not null
    group by contact_key, sent_at

),

events as (

    select contact_key, sent_at as happened_at, 'reply' as kind
    from {{ ref('texting__messages') }}
    where direction = 'inbound' and not is_opt_out and contact_key is not null
    union all
    select contact_key, opted_out_at as happened_at, 'opt_out' as kind
    from {{ ref('int_textlift__opt_outs') }}
    union all
    select contact_key, clicked_at as happened_at, 'click' as kind
    from {{ ref('texting__clicks') }}
    where contact_key is not null

),

in_order as (

    select
        contact_key,
        happened_at,
        kind,
        -- What happens in the same second as the message is before it.
        max(case when kind = 'sent' then happened_at end) over (
            partition by contact_key
            order by happened_at, case when kind = 'sent' then 1 else 0 end
            rows between unbounded preceding and current row
        ) as sent_at
    from (
        select contact_key, happened_at, kind from events
        union all
        select contact_key, sent_at as happened_at, 'sent' as kind from sent
    ) as everything

)

select
    sent.broadcast_key,
    in_order.contact_key,
    in_order.kind,
    cast({{ textlift.epoch('in_order.happened_at') }} - {{ textlift.epoch('in_order.sent_at') }} as {{ dbt.type_float() }}) as seconds
from in_order
inner join sent
    on in_order.contact_key = sent.contact_key
    and in_order.sent_at = sent.sent_at
where
    in_order.kind <> 'sent'
    and {{ textlift.epoch('in_order.happened_at') }} - {{ textlift.epoch('in_order.sent_at') }}
    <= {{ var('textlift_response_hours') }} * 3600
