with

incoming as (

    select
        'mcommons' as service,
        {{ textlift.key('mcommons', 'id', 'in') }} as message_key,
        {{ textlift.text('id') }} as message_id,
        'inbound' as direction,
        case when mms then 'mms' else 'sms' end as channel,
        received_at as sent_at,
        {{ textlift.key('mcommons', 'profile_id') }} as contact_key,
        'received' as status,
        {{ textlift.no('text') }} as service_status,
        body as text,
        coalesce({{ textlift.column('type') }} = 'opt_out', false) as is_opt_out,
        {{ textlift.text('campaign_id') }} as campaign_id,
        campaign__name as campaign_name,
        {{ textlift.no('text') }} as broadcast_key,
        keyword__name as keyword,
        carrier_name as carrier,
        _dlt_load_id as load_id
    from {{ textlift.rows_of('mcommons', 'incoming_messages') }} as incoming_messages

),

outgoing as (

    select
        'mcommons' as service,
        {{ textlift.key('mcommons', 'id', 'out') }} as message_key,
        {{ textlift.text('id') }} as message_id,
        'outbound' as direction,
        case when mms then 'mms' else 'sms' end as channel,
        sent_at,
        {{ textlift.key('mcommons', 'profile_id') }} as contact_key,
        case
            when status in ('initial', 'queued') then 'queued'
            -- Mobile Commons says sent of what has arrived at the phone.
            when status = 'sent' then 'delivered'
            when status in ('undeliverable', 'failed permanently') then 'failed'
            else 'unknown'
        end as status,
        status as service_status,
        body as text,
        false as is_opt_out,
        {{ textlift.text('campaign_id') }} as campaign_id,
        campaign__name as campaign_name,
        {{ textlift.key('mcommons', 'broadcast_id') }} as broadcast_key,
        {{ textlift.no('text') }} as keyword,
        {{ textlift.no('text') }} as carrier,
        _dlt_load_id as load_id
    from {{ textlift.rows_of('mcommons', 'outgoing_messages') }} as outgoing_messages

),

mgage as (

    select
        'mgage' as service,
        {{ textlift.key('mgage', 'message_key') }} as message_key,
        message_key as message_id,
        case when {{ textlift.column('type') }} = 'MO' then 'inbound' else 'outbound' end as direction,
        'sms' as channel,
        {{ textlift.column('date') }} as sent_at,
        {{ textlift.key('mgage', textlift.normalized_phone(textlift.column('number'))) }} as contact_key,
        case
            when {{ textlift.column('type') }} = 'MO' then 'received'
            when delivery_status = 'Delivered' then 'delivered'
            when delivery_status = 'Sent' then 'sent'
            when delivery_status in ('Undelivered', 'Failed') then 'failed'
            else 'unknown'
        end as status,
        delivery_status as service_status,
        body as text,
        {{ textlift.column('type') }} = 'MO' and {{ textlift.is_stop_word('body') }} as is_opt_out,
        {{ textlift.text('program_id') }} as campaign_id,
        program_name as campaign_name,
        {{ textlift.no('text') }} as broadcast_key,
        {{ textlift.no('text') }} as keyword,
        network as carrier,
        _dlt_load_id as load_id
    from {{ textlift.rows_of('mgage', 'messages') }} as messages

),

mobiniti as (

    select
        'mobiniti' as service,
        {{ textlift.key('mobiniti', 'messages.id') }} as message_key,
        messages.id as message_id,
        case when messages.{{ textlift.column('type') }} = 'INCOMING' then 'inbound' else 'outbound' end as direction,
        'sms' as channel,
        messages.created_at as sent_at,
        {{ textlift.key('mobiniti', 'messages.contact_id') }} as contact_key,
        case
            when messages.{{ textlift.column('type') }} = 'INCOMING' then 'received'
            when messages.receipt__success then 'delivered'
            when messages.receipt__code is not null then 'failed'
            else 'sent'
        end as status,
        messages.receipt__status as service_status,
        messages.message as text,
        messages.{{ textlift.column('type') }} = 'INCOMING' and {{ textlift.is_stop_word('messages.message') }} as is_opt_out,
        {{ textlift.no('text') }} as campaign_id,
        {{ textlift.no('text') }} as campaign_name,
        {{ textlift.no('text') }} as broadcast_key,
        {{ textlift.no('text') }} as keyword,
        carriers.name as carrier,
        messages._dlt_load_id as load_id
    from {{ textlift.rows_of('mobiniti', 'messages') }} as messages
    left join {{ textlift.rows_of('mobiniti', 'carriers') }} as carriers
        on messages.carrier_id = carriers.id

),

messangi as (

    select
        'messangi' as service,
        {{ textlift.key('messangi', 'id') }} as message_key,
        id as message_id,
        'outbound' as direction,
        case
            when {{ textlift.column('type') }} = 'SMS' then 'sms'
            when {{ textlift.column('type') }} = 'MMS' then 'mms'
            when {{ textlift.column('type') }} = 'PUSH' then 'push'
            when {{ textlift.column('type') }} in ('EMAIL', 'MAIL') then 'email'
            else 'other'
        end as channel,
        {{ textlift.column('date') }} as sent_at,
        {{ textlift.key('messangi', textlift.recipient(textlift.column('to'))) }} as contact_key,
        case
            when status in ('QUEUE', 'DEQUEUED', 'ENROUTE', 'ACCEPTED') then 'queued'
            when status in ('SENT_TO_CARRIER', 'SENT') then 'sent'
            when status in ('FINISHED', 'DELIVERED') then 'delivered'
            when status in ('BLACKLISTED', 'EXHAUSTED', 'INVALID_ROUTING', 'REJECTED', 'FAILED') then 'failed'
            else 'unknown'
        end as status,
        status as service_status,
        {{ textlift.column('text') }} as text,
        false as is_opt_out,
        {{ textlift.no('text') }} as campaign_id,
        {{ textlift.no('text') }} as campaign_name,
        {{ textlift.key('messangi', 'broadcast_id') }} as broadcast_key,
        {{ textlift.no('text') }} as keyword,
        carrier,
        _dlt_load_id as load_id
    from {{ textlift.rows_of('messangi', 'messages') }} as messages

)

select * from incoming
union all
select * from outgoing
union all
select * from mgage
union all
select * from mobiniti
union all
select * from messangi
