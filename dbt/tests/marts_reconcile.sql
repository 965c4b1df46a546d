-- Each row of a service's tables is a row of a mart, and no other is.
{%- set parts = {
    'contacts': [
        ('mcommons', 'profiles'),
        ('mobiniti', 'contacts'),
    ],
    'subscriptions': [
        ('mcommons', 'profiles__subscriptions'),
        ('mobiniti', 'contacts'),
        ('mobiniti', 'group_contacts'),
        ('textme', 'subscriptions'),
        ('textme', 'timed_campaign_participants'),
    ],
    'messages': [
        ('mcommons', 'incoming_messages'),
        ('mcommons', 'outgoing_messages'),
        ('mgage', 'messages'),
        ('mobiniti', 'messages'),
        ('messangi', 'messages'),
    ],
    'broadcasts': [
        ('mcommons', 'broadcasts'),
        ('mobiniti', 'campaigns'),
        ('messangi', 'broadcasts'),
    ],
    'calls': [('mcommons', 'calls')],
} %}

with

loaded as (
    {% for mart, tables in parts.items() %}
    {%- for service, table in tables %}
    select '{{ mart }}' as mart, '{{ service }}' as service, count(*) as number
    from {{ textlift.rows_of(service, table) }} as loaded
    union all
    {%- endfor %}
    {%- endfor %}
    select 'clicks' as mart, 'mcommons' as service, count(*) as number
    from (
        select id from {{ textlift.rows_of('mcommons', 'clicks') }} as clicks
        union {{ 'distinct' if target.type == 'bigquery' }}
        select id from {{ textlift.rows_of('mcommons', 'profiles__clicks') }} as profiles__clicks
    ) as clicks

),

modelled as (
    {% for mart in ['contacts', 'subscriptions', 'messages', 'broadcasts', 'calls', 'clicks'] %}
    select '{{ mart }}' as mart, service, count(*) as number
    from {{ ref('texting__' ~ mart) }}
    -- Of the services that list no people, the people are those who have messages or subscriptions.
    {{ "where service in ('mcommons', 'mobiniti')" if mart == 'contacts' }}
    group by service
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

both_sides as (

    select mart, service, number as loaded, 0 as modelled from loaded
    union all
    select mart, service, 0 as loaded, number as modelled from modelled

)

select mart, service, sum(loaded) as loaded, sum(modelled) as modelled
from both_sides
group by mart, service
having sum(loaded) <> sum(modelled)
