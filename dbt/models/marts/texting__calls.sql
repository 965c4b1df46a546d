{{ config(alias='calls') }}

select
    {{ textlift.key('mcommons', 'calls.id') }} as call_key,
    'mcommons' as service,
    {{ textlift.text('calls.id') }} as call_id,
    {{ textlift.key('mcommons', 'calls.profile_id') }} as contact_key,
    calls.start_time as started_at,
    calls.end_time as ended_at,
    calls.duration as duration_seconds,
    calls.call_status as status,
    calls.connection_source as source,
    {{ textlift.text('calls.mconnect_id') }} as line_id,
    mconnects.name as line_name,
    calls.carrier_name as carrier,
    case
        when calls.legislator__first_name is not null and calls.legislator__last_name is not null
            then calls.legislator__first_name || ' ' || calls.legislator__last_name
        else coalesce(calls.legislator__last_name, calls.legislator__first_name)
    end as legislator_name,
    calls.legislator__party as legislator_party,
    calls.legislator__state as legislator_state
from {{ textlift.rows_of('mcommons', 'calls') }} as calls
left join {{ textlift.rows_of('mcommons', 'mconnects') }} as mconnects
    on calls.mconnect_id = mconnects.id
