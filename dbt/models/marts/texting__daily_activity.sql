{{ config(alias='daily_activity') }}

{%- set counts = [
    'messages_sent', 'messages_delivered', 'messages_failed', 'messages_received', 'segments_sent', 'opt_outs', 'gained', 'lost',
    'clicks', 'calls',
] %}
{#- Relation, column with the time, column of the campaign if there is one, and count → what to sum. -#}
{%- set parts = [
    (ref('texting__messages'), 'sent_at', true, {
        'messages_sent': "case when direction = 'outbound' then 1 else 0 end",
        'messages_delivered': "case when direction = 'outbound' and status = 'delivered' then 1 else 0 end",
        'messages_failed': "case when direction = 'outbound' and status = 'failed' then 1 else 0 end",
        'messages_received': "case when direction = 'inbound' then 1 else 0 end",
        'segments_sent': "case when direction = 'outbound' then coalesce(segments, 0) else 0 end",
    }),
    (ref('int_textlift__opt_outs'), 'opted_out_at', true, {'opt_outs': '1'}),
    (ref('texting__subscriptions'), 'joined_at', true, {'gained': '1'}),
    (ref('texting__subscriptions'), 'left_at', true, {'lost': '1'}),
    (ref('texting__clicks'), 'clicked_at', false, {'clicks': '1'}),
    (ref('texting__calls'), 'started_at', false, {'calls': '1'}),
] %}

with

happened as (
    {% for relation, moment, has_campaign, sums in parts %}
    select
        {{ textlift.utc_day(moment) }} as date_day,
        service,
        {{ 'campaign_id' if has_campaign else textlift.no('text') }} as campaign_id,
        {{ 'campaign_name' if has_campaign else textlift.no('text') }} as campaign_name
        {%- for name in counts %},
        {{ sums.get(name, '0') }} as {{ name }}
        {%- endfor %}
    from {{ relation }}
    where {{ moment }} is not null
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select
    {{ textlift.text('date_day') }} || ':' || service || ':' || coalesce(campaign_id, '') as activity_key,
    date_day,
    service,
    campaign_id,
    max(campaign_name) as campaign_name
    {%- for name in counts %},
    cast(sum({{ name }}) as {{ dbt.type_bigint() }}) as {{ name }}
    {%- endfor %}
from happened
group by date_day, service, campaign_id
