{# Rows of a service's table with the columns and types of the data dictionary.

   dlt creates a table when the first row of it comes, and a policy can leave out columns. So a table that is missing is empty here,
   and a column that is missing is NULL. #}
{% macro stage(service, table) -%}
    {{ config(enabled=service in var('textlift_services')) }}
    {%- set declared = source(service, table) -%}
    {%- set found = none -%}
    {%- if execute -%}
        {%- set found = adapter.get_relation(declared.database, declared.schema, declared.identifier) -%}
    {%- endif -%}
    {%- if found is none -%}
        {{ textlift.no_rows(service, table) }}
    {%- else -%}
        {%- set existing = adapter.get_columns_in_relation(found) | map(attribute='name') | map('lower') | list -%}
select
        {%- for name, kind in textlift.columns_of(service, table).items() %}
    {% if name in existing %}{{ textlift.column(name) }}{% else %}cast(null as {{ textlift.type_of(kind) }}) as {{ textlift.column(name) }}{% endif %}{{ "," if not loop.last }}
        {%- endfor %}
from {{ declared }}
    {%- endif -%}
{%- endmacro %}

{# What to select from for the rows of a service's table: nothing if the service is not among those that are modelled. #}
{% macro rows_of(service, table) -%}
    {%- if service in var('textlift_services') -%}
        {{ ref('stg_' ~ service ~ '__' ~ table.lstrip('_')) }}
    {%- else -%}
        ({{ textlift.no_rows(service, table) }})
    {%- endif -%}
{%- endmacro %}

{% macro no_rows(service, table) -%}
select
    {%- for name, kind in textlift.columns_of(service, table).items() %}
    cast(null as {{ textlift.type_of(kind) }}) as {{ textlift.column(name) }}{{ "," if not loop.last }}
    {%- endfor %}
from (select 1 as one) as nothing
where 1 = 0
{%- endmacro %}

{# Column → type in the data dictionary; empty while dbt parses. #}
{% macro columns_of(service, table) -%}
    {%- set columns = {} -%}
    {%- if execute -%}
        {%- for node in graph.sources.values() if node.package_name == 'textlift' and node.source_name == service and node.name == table -%}
            {%- for column in node.columns.values() -%}
                {%- do columns.update({column.name: column.data_type}) -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(columns) }}
{%- endmacro %}

{# A column's name, quoted because some are reserved words: from, to, date. Snowflake has them in capitals. #}
{% macro column(name) -%}
    {{ adapter.quote(name | upper if target.type == 'snowflake' else name) }}
{%- endmacro %}

{% macro type_of(kind) -%}
    {%- if kind == 'text' -%}{{ dbt.type_string() }}
    {%- elif kind == 'bigint' -%}{{ dbt.type_bigint() }}
    {%- elif kind == 'boolean' -%}{{ dbt.type_boolean() }}
    {%- elif kind == 'double' -%}{{ dbt.type_float() }}
    {%- elif kind == 'decimal' -%}{{ dbt.type_numeric() }}
    {%- elif kind == 'timestamp' -%}{{ textlift.type_time() }}
    {%- else -%}{{ kind }}
    {%- endif -%}
{%- endmacro %}

{% macro text(expression) -%}
    cast({{ expression }} as {{ dbt.type_string() }})
{%- endmacro %}

{# NULL of a type of the data dictionary. #}
{% macro no(kind) -%}
    cast(null as {{ textlift.type_of(kind) }})
{%- endmacro %}
