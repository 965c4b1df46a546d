"""Text to typed Arrow arrays, in the types of the warehouse contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from textlift.declare import ColumnType
from textlift.dictionary import LOAD_ID, Table

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    ColumnType.BIGINT: pa.int64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.DATE: pa.date32(),
    ColumnType.DECIMAL: pa.decimal128(38, 9),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.TEXT: pa.string(),
    ColumnType.TIMESTAMP: pa.timestamp("us", "UTC"),
}


def schema_of(table: Table) -> pa.Schema:
    """Return the Arrow schema of a table of the dictionary, without the column that dlt adds."""
    return pa.schema(
        [
            pa.field(name, ARROW_TYPES[column.type], nullable=name not in table.key)
            for name, column in table.columns.items()
            if name != LOAD_ID
        ]
    )


#: First and last time that Python and every warehouse can hold, in microseconds since 1970.
_FIRST_TIME, _LAST_TIME = -62135596800 * 10**6, 253402300800 * 10**6 - 1
#: A time that means NULL: the zero date, with or without a zero time and a zone.
_ZERO_TIME = r"^0000-00-00(?:[ T]00:00(?::00(?:\.0+)?)?)?\s*(?:Z|UTC|GMT|[+-]\d\d:?\d\d)?$"
_TIME_OF_DAY = r"[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?\s*(?:Z|UTC|GMT|[+-]\d\d:?\d\d)?$"
#: A time as Ruby prints it: Wed Oct 01 04:19:17 UTC 2008.
_RUBY_TIME = r"^[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d) ([\d:]{8}) (UTC|GMT|[+-]\d{4}) (\d{4})$"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FLAGS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


def convert(texts: pa.Array, column_type: ColumnType) -> tuple[pa.Array, list[int]]:
    """Convert text to an Arrow array of ``column_type``.

    Returns:
        The array, with NULL where a value does not fit, and the positions of those values.
    """
    if column_type is ColumnType.TEXT:
        return texts, []
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _CASTS[column_type](texts), []
    array = pc.utf8_trim_whitespace(texts)
    array = pc.if_else(pc.equal(array, ""), None, array)
    unfit: list[int] = []
    return pa.concat_arrays(list(_cast(array, 0, column_type, unfit))), unfit


def _cast(
    array: pa.Array, at: int, column_type: ColumnType, unfit: list[int]
) -> Iterator[pa.Array]:
    """Yield an array cast in parts.

    If a cast fails, the halves are cast, down to single values. A value that does not fit becomes
    NULL, and its position is added to ``unfit``.
    """
    try:
        yield _CASTS[column_type](array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(array) == 1:
            unfit.append(at)
            yield pa.nulls(1, ARROW_TYPES[column_type])
            return
        half = len(array) // 2
        yield from _cast(array[:half], at, column_type, unfit)
        yield from _cast(array[half:], at + half, column_type, unfit)


def _cast_timestamp(array: pa.Array) -> pa.Array:
    with_zone = pc.replace_substring(array, " UTC", "Z")
    try:
        # Try the usual form first: regular expressions take longer than all other casts.
        times = _cast_timestamp_with_zone(with_zone)
    except pa.ArrowInvalid:
        times = _cast_any_timestamp(array)
    known = times.drop_null()
    if len(known) and not (
        pc.min(known).value >= _FIRST_TIME and pc.max(known).value <= _LAST_TIME
    ):
        raise pa.ArrowInvalid("not in a year from 1 to 9999")
    return times


def _cast_timestamp_with_zone(array: pa.Array) -> pa.Array:
    unknown = pc.starts_with(array, "0000-00-00")
    if pc.any(unknown).as_py():
        unknown = pc.match_substring_regex(array, _ZERO_TIME)
    return pc.if_else(unknown, None, array).cast(ARROW_TYPES[ColumnType.TIMESTAMP])


def _cast_any_timestamp(array: pa.Array) -> pa.Array:
    array = pc.replace_substring_regex(array, _RUBY_TIME, r"\5-\1-\2 \3\4")
    for number, month in enumerate(_MONTHS, 1):
        array = pc.replace_substring(array, f"-{month}-", f"-{number:02d}-")
    array = pc.replace_substring_regex(array, r"^(\d{4}-\d\d-\d\d)$", r"\1 00:00:00")
    array = pc.replace_substring_regex(array, r"\s*(UTC|GMT|Z)$", "")
    # No warehouse holds less than a microsecond.
    array = pc.replace_substring_regex(array, r"(\.\d{6})\d{1,3}", r"\1")
    offset = pc.match_substring_regex(array, r"[+-]\d\d:?\d\d$")
    return _cast_timestamp_with_zone(
        pc.if_else(offset, array, pc.binary_join_element_wise(array, "Z", ""))
    )


def _cast_date(array: pa.Array) -> pa.Array:
    # The day as it is printed, also where a time of day follows it.
    days = pc.replace_substring_regex(array, _TIME_OF_DAY, "")
    days = pc.if_else(pc.equal(days, "0000-00-00"), None, days)
    if pc.any(pc.starts_with(days, "0000")).as_py():
        raise pa.ArrowInvalid("not in a year from 1 to 9999")
    return days.cast(pa.date32())


def _cast_bigint(array: pa.Array) -> pa.Array:
    # Check the digits first: Arrow also casts hexadecimal ones.
    if not pc.all(pc.match_substring_regex(array, r"^-?\d+$")).as_py() and array.drop_null():
        raise pa.ArrowInvalid("not a whole number")
    return array.cast(pa.int64())


def _cast_boolean(array: pa.Array) -> pa.Array:
    texts = array.to_pylist()
    flags = [None if text is None else _FLAGS.get(text.lower()) for text in texts]
    if flags.count(None) != texts.count(None):
        raise pa.ArrowInvalid("not a flag")
    return pa.array(flags, pa.bool_())


def _cast_double(array: pa.Array) -> pa.Array:
    numbers = array.cast(pa.float64())
    if not pc.all(pc.is_finite(numbers)).as_py() and len(numbers) > numbers.null_count:
        raise pa.ArrowInvalid("not a finite number")
    return numbers


_CASTS: Mapping[ColumnType, Callable[[pa.Array], pa.Array]] = {
    ColumnType.BIGINT: _cast_bigint,
    ColumnType.BOOLEAN: _cast_boolean,
    ColumnType.DATE: _cast_date,
    ColumnType.DECIMAL: lambda array: array.cast(ARROW_TYPES[ColumnType.DECIMAL]),
    ColumnType.DOUBLE: _cast_double,
    ColumnType.TIMESTAMP: _cast_timestamp,
}
