{# A phone number in E.164, as textlift normalizes it before it is hashed: ten digits are of the US, more begin with the country code.
   Other text, such as a hash, in lower case. NULL for a masked number, which several people can have. #}
{% macro normalized_phone(number) -%}
    {%- set bare = "translate(" ~ number ~ ", ' ().-', '')" -%}
    {%- set digits = "translate(" ~ number ~ ", '+ ().-', '')" -%}
    case
        when {{ bare }} = '' or {{ bare }} like '*%' then null
        when translate({{ digits }}, '0123456789', '') <> '' then lower({{ bare }})
        when length({{ bare }}) = 10 and substr({{ bare }}, 1, 1) between '2' and '9' then {{ dbt.concat(["'+1'", bare]) }}
        when substr({{ bare }}, 1, 1) = '+' then {{ bare }}
        when length({{ bare }}) between 11 and 15 and substr({{ bare }}, 1, 1) <> '0' then {{ dbt.concat(["'+'", bare]) }}
        else {{ bare }}
    end
{%- endmacro %}

{# Key of something of a service; NULL if the id is NULL. #}
{% macro key(service, id, kind=none) -%}
    '{{ service }}:{{ kind ~ ":" if kind }}' || {{ textlift.text(id) }}
{%- endmacro %}

{# Columns of contacts for the custom columns that are configured: as they come from ``custom``, and made from a table of names and values. #}
{% macro custom_columns() -%}
    {%- for name in var('textlift_custom_columns') %}
    , custom.{{ textlift.custom_column(name) }}
    {%- endfor -%}
{%- endmacro %}

{% macro pivoted_custom_columns() -%}
    {%- for name in var('textlift_custom_columns') %}
    , max(case when name = '{{ dbt.escape_single_quotes(name) }}' then value end) as {{ textlift.custom_column(name) }}
    {%- endfor -%}
{%- endmacro %}

{% macro custom_column(name) -%}
    custom__{{ modules.re.sub('[^a-z0-9]+', '_', name | lower) }}
{%- endmacro %}

{# Whom a message of Messangi goes to: a phone number, a device or an e-mail address. #}
{% macro recipient(address) -%}
    case when {{ address }} like '%@%' then lower({{ address }}) else {{ textlift.normalized_phone(address) }} end
{%- endmacro %}

{# Common status of a contact of Mobiniti. Who unsubscribed stays so, also when the number was transferred or resumed later. #}
{% macro mobiniti_status(contacts) -%}
    case
            when {{ contacts }}.removed_at is not null then 'removed'
            when {{ contacts }}.unsubscribed_at is not null or {{ contacts }}.status = 'unsubscribed' then 'opted_out'
            when {{ contacts }}.status in ('suspended', 'deactivated') then 'undeliverable'
            when {{ contacts }}.status in ('active', 'resumed', 'transferred') then 'active'
            else 'unknown'
        end
{%- endmacro %}
