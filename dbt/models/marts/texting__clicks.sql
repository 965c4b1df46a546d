{{ config(alias='clicks') }}

with

of_links as (

    select
        id,
        profile_id,
        tinyurl_id,
        created_at,
        clicked_url,
        url
    from {{ textlift.rows_of('mcommons', 'clicks') }} as clicks

),

of_profiles as (

    select
        profiles__clicks.id,
        min(profiles__clicks.profile_id) as profile_id,
        {{ textlift.no('bigint') }} as tinyurl_id,
        min(profiles__clicks.created_at) as created_at,
        min(profiles__clicks.clicked_url) as clicked_url,
        min(profiles__clicks.url) as url
    from {{ textlift.rows_of('mcommons', 'profiles__clicks') }} as profiles__clicks
    left join of_links
        on profiles__clicks.id = of_links.id
    where of_links.id is null
    group by profiles__clicks.id

),

together as (

    select * from of_links
    union all
    select * from of_profiles

)

select
    {{ textlift.key('mcommons', 'together.id') }} as click_key,
    'mcommons' as service,
    {{ textlift.text('together.id') }} as click_id,
    {{ textlift.key('mcommons', 'together.profile_id') }} as contact_key,
    together.created_at as clicked_at,
    {{ textlift.text('together.tinyurl_id') }} as link_id,
    tinyurls.name as link_name,
    together.clicked_url as short_url,
    together.url
from together
left join {{ textlift.rows_of('mcommons', 'tinyurls') }} as tinyurls
    on together.tinyurl_id = tinyurls.id
