{# The schema of a model of this package, without the target's schema before it. dbt uses it for the models of this package only. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
