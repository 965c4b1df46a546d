{%- for service in var('textlift_services') %}
select
    '{{ service }}' as service,
    {{ textlift.utc_day('max(inserted_at)') }} as last_day
from {{ textlift.rows_of(service, '_dlt_loads') }} as loads
{{ 'union all' if not loop.last }}
{%- endfor %}
