{{ config(alias='contacts') }}

with

mcommons as (

    select
        'mcommons' as service,
        {{ textlift.text('profiles.id') }} as contact_id,
        {{ textlift.normalized_phone('profiles.phone_number') }} as phone_number,
        profiles.first_name,
        profiles.last_name,
        profiles.email,
        profiles.address__city as city,
        profiles.address__state as state,
        profiles.address__postal_code as postal_code,
        case
            when profiles.removed_at is not null then 'removed'
            when profiles.status = 'Opted-Out' then 'opted_out'
            when profiles.status = 'Undeliverable' then 'undeliverable'
            when profiles.status = 'Active Subscriber' then 'active'
            when profiles.status = 'Profiles with no Subscriptions' then 'unsubscribed'
            else 'unknown'
        end as status,
        profiles.status as service_status,
        profiles.created_at as joined_at,
        profiles.opted_out_at,
        profiles.removed_at
    from {{ textlift.rows_of('mcommons', 'profiles') }} as profiles

),

mobiniti as (

    select
        'mobiniti' as service,
        contacts.id as contact_id,
        {{ textlift.normalized_phone('contacts.phone_number') }} as phone_number,
        contacts.first_name,
        contacts.last_name,
        contacts.email,
        {{ textlift.no('text') }} as city,
        {{ textlift.no('text') }} as state,
        {{ textlift.no('text') }} as postal_code,
        {{ textlift.mobiniti_status('contacts') }} as status,
        contacts.status as service_status,
        contacts.created_at as joined_at,
        contacts.unsubscribed_at as opted_out_at,
        contacts.removed_at
    from {{ textlift.rows_of('mobiniti', 'contacts') }} as contacts

),

-- Of the services that list no people, those whom messages came from or went to.
senders as (

    select
        'mgage' as service,
        {{ textlift.normalized_phone(textlift.column('number')) }} as contact_id,
        min({{ textlift.column('date') }}) as joined_at
    from {{ textlift.rows_of('mgage', 'messages') }} as messages
    group by 2
    union all
    select
        'messangi' as service,
        {{ textlift.recipient(textlift.column('to')) }} as contact_id,
        min({{ textlift.column('date') }}) as joined_at
    from {{ textlift.rows_of('messangi', 'messages') }} as messages
    group by 2

),

textme_rows as (

    select
        mobile_phone,
        first_name,
        last_name,
        email,
        postal_code,
        opt_in_at as joined_at
    from {{ textlift.rows_of('textme', 'subscriptions') }} as subscriptions
    union all
    select
        mobile_phone,
        {{ textlift.no('text') }} as first_name,
        {{ textlift.no('text') }} as last_name,
        {{ textlift.no('text') }} as email,
        {{ textlift.no('text') }} as postal_code,
        created_at as joined_at
    from {{ textlift.rows_of('textme', 'timed_campaign_participants') }} as participants

),

textme as (

    select
        'textme' as service,
        {{ textlift.normalized_phone('mobile_phone') }} as contact_id,
        max(first_name) as first_name,
        max(last_name) as last_name,
        max(email) as email,
        max(postal_code) as postal_code,
        min(joined_at) as joined_at
    from textme_rows
    group by 2

),

together as (

    select * from mcommons
    union all
    select * from mobiniti
    union all
    select
        service,
        contact_id,
        contact_id as phone_number,
        first_name,
        last_name,
        email,
        {{ textlift.no('text') }} as city,
        {{ textlift.no('text') }} as state,
        postal_code,
        -- Only those who are subscribed are listed.
        'active' as status,
        {{ textlift.no('text') }} as service_status,
        joined_at,
        {{ textlift.no('timestamp') }} as opted_out_at,
        {{ textlift.no('timestamp') }} as removed_at
    from textme
    where contact_id is not null
    union all
    select
        service,
        contact_id,
        case when contact_id not like '%@%' then contact_id end as phone_number,
        {{ textlift.no('text') }} as first_name,
        {{ textlift.no('text') }} as last_name,
        case when contact_id like '%@%' then contact_id end as email,
        {{ textlift.no('text') }} as city,
        {{ textlift.no('text') }} as state,
        {{ textlift.no('text') }} as postal_code,
        'unknown' as status,
        {{ textlift.no('text') }} as service_status,
        joined_at,
        {{ textlift.no('timestamp') }} as opted_out_at,
        {{ textlift.no('timestamp') }} as removed_at
    from senders
    where contact_id is not null

),

custom as (

    select
        'mcommons' as service,
        {{ textlift.text('profile_id') }} as contact_id
        {{ textlift.pivoted_custom_columns() }}
    from {{ textlift.rows_of('mcommons', 'profiles__custom_columns') }} as custom_columns
    group by profile_id
    union all
    select
        'mobiniti' as service,
        contact_id
        {{ textlift.pivoted_custom_columns() }}
    from {{ textlift.rows_of('mobiniti', 'contacts__fields') }} as fields
    group by contact_id

)

select
    together.service || ':' || together.contact_id as contact_key,
    together.service,
    together.contact_id,
    coalesce(together.phone_number, together.service || ':' || together.contact_id) as person_key,
    together.phone_number,
    together.first_name,
    together.last_name,
    together.email,
    together.city,
    together.state,
    together.postal_code,
    together.status,
    together.service_status,
    together.joined_at,
    together.opted_out_at,
    together.removed_at
    {{ textlift.custom_columns() }}
from together
left join custom
    on together.service = custom.service
    and together.contact_id = custom.contact_id
