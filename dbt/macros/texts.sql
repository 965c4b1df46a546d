{# Characters of GSM-7 that take one place, and those that take two. Quotes and the backslash are spelled in ways that each warehouse reads. #}
{% macro gsm_characters() -%}
    ('@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà' || chr(10) || chr(13) || chr(39))
{%- endmacro %}

{% macro gsm_double_characters() -%}
    ('^{}[~]|€' || chr(92) || chr(12))
{%- endmacro %}

{# Whether a text has characters that are not in GSM-7. #}
{% macro needs_ucs2(text) -%}
    translate(translate({{ text }}, {{ textlift.gsm_characters() }}, ''), {{ textlift.gsm_double_characters() }}, '') <> ''
{%- endmacro %}

{# Places that a text takes in GSM-7. #}
{% macro gsm_places(text) -%}
    (2 * length({{ text }}) - length(translate({{ text }}, {{ textlift.gsm_double_characters() }}, '')))
{%- endmacro %}

{# Places that a text takes in UCS-2: characters beyond U+FFFF, such as most emoji, take two. #}
{% macro ucs2_places(text) -%}
    (2 * length({{ text }}) - length({{ adapter.dispatch('without_wide', 'textlift')(text) }}))
{%- endmacro %}

{% macro default__without_wide(text) -%} regexp_replace({{ text }}, '[𐀀-􏿽]', '') {%- endmacro %}
{% macro postgres__without_wide(text) -%} regexp_replace({{ text }}, '[𐀀-􏿽]', '', 'g') {%- endmacro %}
{% macro redshift__without_wide(text) -%} regexp_replace({{ text }}, '[𐀀-􏿽]', '') {%- endmacro %}
{% macro duckdb__without_wide(text) -%} regexp_replace({{ text }}, '[𐀀-􏿽]', '', 'g') {%- endmacro %}

{# Whether a text is a word that opts out. #}
{% macro is_stop_word(text) -%}
    coalesce(upper(translate({{ text }}, ' .,!?-' || chr(9) || chr(10) || chr(13), '')) in ('{{ var("textlift_stop_words") | join("', '") }}'), false)
{%- endmacro %}
