{{ config(alias='audience_by_day') }}

with

spans as (

    select
        service,
        contact_key,
        list_type,
        campaign_id,
        campaign_name,
        joined_at,
        -- Nobody leaves before they join.
        case when left_at < joined_at then joined_at else left_at end as left_at
    from {{ ref('texting__subscriptions') }}
    where joined_at is not null and contact_key is not null
    union all
    select
        service,
        contact_key,
        'service' as list_type,
        {{ textlift.no('text') }} as campaign_id,
        {{ textlift.no('text') }} as campaign_name,
        joined_at,
        case when left_at < joined_at then joined_at else left_at end as left_at
    from {{ ref('texting__subscriptions') }}
    where joined_at is not null and contact_key is not null

),

steps as (

    select service, contact_key, list_type, campaign_id, campaign_name, joined_at as at_time, 1 as step
    from spans
    union all
    select service, contact_key, list_type, campaign_id, campaign_name, left_at as at_time, -1 as step
    from spans
    where left_at is not null

),

counted as (

    select
        *,
        sum(step) over (
            partition by service, contact_key, list_type, campaign_id
            order by at_time, step desc
            rows between unbounded preceding and current row
        ) as open_spans
    from steps

),

changes as (

    -- A person who is on a list several times joins it once, and leaves it with the last of them.
    select
        service,
        list_type,
        campaign_id,
        {{ textlift.utc_day('at_time') }} as date_day,
        max(campaign_name) as campaign_name,
        sum(case when step = 1 and open_spans = 1 then 1 else 0 end) as gained,
        sum(case when step = -1 and open_spans = 0 then 1 else 0 end) as lost
    from counted
    group by 1, 2, 3, 4

),

lists as (

    select
        changes.service,
        changes.list_type,
        changes.campaign_id,
        max(changes.campaign_name) as campaign_name,
        min(changes.date_day) as first_day,
        max(greatest(changes.date_day, coalesce(loads.last_day, changes.date_day))) as last_day
    from changes
    left join {{ ref('int_textlift__last_loads') }} as loads
        on changes.service = loads.service
    group by 1, 2, 3

),

digits as (
    {% for digit in range(10) %}
    select {{ digit }} as digit {{ 'union all' if not loop.last }}
    {%- endfor %}

),

numbers as (

    select a.digit + 10 * b.digit + 100 * c.digit + 1000 * d.digit as number
    from digits as a
    cross join digits as b
    cross join digits as c
    cross join digits as d

),

days as (

    select
        lists.service,
        lists.list_type,
        lists.campaign_id,
        lists.campaign_name,
        {{ textlift.days_after('lists.first_day', 'numbers.number') }} as date_day
    from lists
    inner join numbers
        on {{ textlift.days_after('lists.first_day', 'numbers.number') }} <= lists.last_day

),

filled as (

    select
        days.*,
        coalesce(changes.gained, 0) as gained,
        coalesce(changes.lost, 0) as lost
    from days
    left join changes
        on days.service = changes.service
        and days.list_type = changes.list_type
        and coalesce(days.campaign_id, '') = coalesce(changes.campaign_id, '')
        and days.date_day = changes.date_day

)

select
    {{ textlift.text('date_day') }} || ':' || service || ':' || list_type || ':' || coalesce(campaign_id, '') as audience_key,
    date_day,
    service,
    list_type,
    campaign_id,
    campaign_name,
    cast(sum(gained - lost) over (
        partition by service, list_type, campaign_id
        order by date_day
        rows between unbounded preceding and current row
    ) as {{ dbt.type_bigint() }}) as active,
    cast(gained as {{ dbt.type_bigint() }}) as gained,
    cast(lost as {{ dbt.type_bigint() }}) as lost
from filled
