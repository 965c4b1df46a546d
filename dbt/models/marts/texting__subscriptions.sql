{{ config(alias='subscriptions') }}

with

mcommons as (

    select
        {{ textlift.key('mcommons', 'subscriptions.profile_id') }} || ':' || {{ textlift.text('subscriptions._dlt_list_idx') }} as subscription_key,
        'mcommons' as service,
        {{ textlift.key('mcommons', 'subscriptions.profile_id') }} as contact_key,
        'campaign' as list_type,
        {{ textlift.text('subscriptions.campaign_id') }} as campaign_id,
        subscriptions.campaign_name,
        case
            when subscriptions.status <> 'Active' and subscriptions.opted_out_at is not null then 'opted_out'
            when profiles.removed_at is not null then 'removed'
            when subscriptions.status = 'Opted-Out' then 'opted_out'
            when profiles.status = 'Undeliverable' then 'undeliverable'
            else 'active'
        end as status,
        coalesce(subscriptions.activated_at, subscriptions.created_at) as joined_at,
        {{ textlift.no('timestamp') }} as confirmed_at,
        -- A time for each who has left: an opt-out without one can only be known by the profile's last change.
        coalesce(
            case when subscriptions.status <> 'Active' then subscriptions.opted_out_at end,
            profiles.removed_at,
            case when subscriptions.status = 'Opted-Out' then profiles.updated_at end
        ) as left_at,
        subscriptions.opt_in_source as joined_by,
        case when subscriptions.status <> 'Active' then subscriptions.opt_out_source end as left_by
    from {{ textlift.rows_of('mcommons', 'profiles__subscriptions') }} as subscriptions
    left join {{ textlift.rows_of('mcommons', 'profiles') }} as profiles
        on subscriptions.profile_id = profiles.id

),

mobiniti_account as (

    select
        {{ textlift.key('mobiniti', 'contacts.id') }} as subscription_key,
        'mobiniti' as service,
        {{ textlift.key('mobiniti', 'contacts.id') }} as contact_key,
        'account' as list_type,
        {{ textlift.no('text') }} as campaign_id,
        'All contacts' as campaign_name,
        {{ textlift.mobiniti_status('contacts') }} as contact_status,
        contacts.created_at as joined_at,
        {{ textlift.no('timestamp') }} as confirmed_at,
        coalesce(
            contacts.unsubscribed_at,
            contacts.removed_at,
            case when contacts.status = 'unsubscribed' then contacts.updated_at end
        ) as left_at,
        {{ textlift.no('text') }} as joined_by,
        {{ textlift.no('text') }} as left_by
    from {{ textlift.rows_of('mobiniti', 'contacts') }} as contacts

),

mobiniti_groups as (

    select
        {{ textlift.key('mobiniti', 'members.group_id') }} || ':' || members.contact_id as subscription_key,
        'mobiniti' as service,
        {{ textlift.key('mobiniti', 'members.contact_id') }} as contact_key,
        'group' as list_type,
        members.group_id as campaign_id,
        lists.name as campaign_name,
        case
            when contacts.id is not null then {{ textlift.mobiniti_status('contacts') }}
            when members.status = 'unsubscribed' then 'opted_out'
            when members.status in ('suspended', 'deactivated') then 'undeliverable'
            else 'active'
        end as contact_status,
        {{ textlift.no('timestamp') }} as joined_at,
        {{ textlift.no('timestamp') }} as confirmed_at,
        {{ textlift.no('timestamp') }} as left_at,
        {{ textlift.no('text') }} as joined_by,
        {{ textlift.no('text') }} as left_by
    from {{ textlift.rows_of('mobiniti', 'group_contacts') }} as members
    left join {{ textlift.rows_of('mobiniti', 'groups') }} as lists
        on members.group_id = lists.id
    left join {{ textlift.rows_of('mobiniti', 'contacts') }} as contacts
        on members.contact_id = contacts.id

),

mobiniti as (

    select
        subscription_key,
        service,
        contact_key,
        list_type,
        campaign_id,
        campaign_name,
        case when contact_status = 'unknown' then 'active' else contact_status end as status,
        joined_at,
        confirmed_at,
        left_at,
        joined_by,
        left_by
    from (
        select * from mobiniti_account
        union all
        select * from mobiniti_groups
    ) as lists

),

textme_rows as (

    select
        subscription_key,
        mobile_phone,
        campaign_id,
        opt_in_at as joined_at,
        confirmed_at
    from {{ textlift.rows_of('textme', 'subscriptions') }} as subscriptions
    union all
    select
        participant_key as subscription_key,
        mobile_phone,
        campaign_id,
        created_at as joined_at,
        {{ textlift.no('timestamp') }} as confirmed_at
    from {{ textlift.rows_of('textme', 'timed_campaign_participants') }} as participants

),

textme as (

    select
        {{ textlift.key('textme', 'textme_rows.subscription_key') }} as subscription_key,
        'textme' as service,
        {{ textlift.key('textme', textlift.normalized_phone('textme_rows.mobile_phone')) }} as contact_key,
        'campaign' as list_type,
        {{ textlift.text('textme_rows.campaign_id') }} as campaign_id,
        campaigns.description as campaign_name,
        'active' as status,
        textme_rows.joined_at,
        textme_rows.confirmed_at,
        {{ textlift.no('timestamp') }} as left_at,
        {{ textlift.no('text') }} as joined_by,
        {{ textlift.no('text') }} as left_by
    from textme_rows
    left join {{ textlift.rows_of('textme', 'campaigns') }} as campaigns
        on textme_rows.campaign_id = campaigns.id

)

select * from mcommons
union all
select * from mobiniti
union all
select * from textme
