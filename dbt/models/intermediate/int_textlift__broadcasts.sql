with

mcommons as (

    select
        {{ textlift.key('mcommons', 'id') }} as broadcast_key,
        'mcommons' as service,
        {{ textlift.text('id') }} as broadcast_id,
        name,
        body as text,
        case
            when status = 'generated' then 'sent'
            when status in ('draft', 'scheduled') then status
            else 'unknown'
        end as status,
        {{ textlift.text('campaign_id') }} as campaign_id,
        campaign__name as campaign_name,
        delivery_time as sent_at,
        estimated_recipients_count as reported_recipients,
        replies_count as reported_replies,
        opt_outs_count as reported_opt_outs,
        true as has_messages
    from {{ textlift.rows_of('mcommons', 'broadcasts') }} as broadcasts

),

mobiniti as (

    select
        {{ textlift.key('mobiniti', 'id') }} as broadcast_key,
        'mobiniti' as service,
        id as broadcast_id,
        name,
        message as text,
        case
            when send_date is null then 'unknown'
            when {{ textlift.epoch('send_date') }} > cast(_dlt_load_id as {{ dbt.type_float() }}) then 'scheduled'
            else 'sent'
        end as status,
        {{ textlift.no('text') }} as campaign_id,
        {{ textlift.column('to') }} as campaign_name,
        send_date as sent_at,
        {{ textlift.no('bigint') }} as reported_recipients,
        {{ textlift.no('bigint') }} as reported_replies,
        {{ textlift.no('bigint') }} as reported_opt_outs,
        false as has_messages
    from {{ textlift.rows_of('mobiniti', 'campaigns') }} as campaigns

),

messangi as (

    select
        {{ textlift.key('messangi', 'id') }} as broadcast_key,
        'messangi' as service,
        id as broadcast_id,
        {{ textlift.column('text') }} as name,
        {{ textlift.column('text') }} as text,
        case
            when status_description in ('DONE', 'FINISHED') then 'sent'
            when status_description = 'SCHEDULED' then 'scheduled'
            else 'unknown'
        end as status,
        {{ textlift.no('text') }} as campaign_id,
        {{ textlift.no('text') }} as campaign_name,
        start_date as sent_at,
        expected_messages as reported_recipients,
        {{ textlift.no('bigint') }} as reported_replies,
        {{ textlift.no('bigint') }} as reported_opt_outs,
        true as has_messages
    from {{ textlift.rows_of('messangi', 'broadcasts') }} as broadcasts

)

select * from mcommons
union all
select * from mobiniti
union all
select * from messangi
