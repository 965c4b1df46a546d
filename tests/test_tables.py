"""Text to typed Arrow tables: what the warehouse contract says of types, NULLs, lists and keys."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from dlt.common.normalizers.naming.snake_case import NamingConvention
from hypothesis import given, settings
from hypothesis import strategies as st

from textlift.arrow.build import build_page
from textlift.arrow.pages import (
    ROW,
    Page,
    add_row_keys,
    concat_pages,
    constant,
    filter_page,
    split_page,
    with_column,
)
from textlift.arrow.types import ARROW_TYPES, convert
from textlift.codec.records import Decoded, Records, Rows
from textlift.codec.schema import (
    MAX_NEW_FIELDS,
    Field,
    PageFields,
    RecordSchema,
    column_name,
)
from textlift.declare import ChildList, Column, ColumnType, Endpoint

UTC = timezone.utc
BIGINT, BOOLEAN, DATE, DECIMAL, DOUBLE, TEXT, TIMESTAMP = (
    ColumnType.BIGINT,
    ColumnType.BOOLEAN,
    ColumnType.DATE,
    ColumnType.DECIMAL,
    ColumnType.DOUBLE,
    ColumnType.TEXT,
    ColumnType.TIMESTAMP,
)

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

Record = Mapping[str, Any]

NUMBER, NAME = Column(BIGINT, "a number"), Column(TEXT, "a name")
PEOPLE = Endpoint(
    name="people",
    entity="person",
    meaning="A person.",
    path="people",
    rows="people/person",
    columns={
        "id": NUMBER,
        "name": NAME,
        "age": NUMBER,
        "joined_at": Column(TIMESTAMP, "a time"),
    },
    lists={
        "paths": ChildList(
            item="path",
            meaning="A path of a person.",
            key=("id",),
            columns={"id": NUMBER, "name": NAME},
            lists={
                "tags": ChildList(
                    item="tag", meaning="A tag of a path.", columns={"tag": NAME, "weight": NUMBER}
                )
            },
        ),
    },
)


def walk(record: Record, field: Field, rows: Rows) -> None:
    for name, value in record.items():
        inner = rows.fields.find(field, name)
        if isinstance(value, Mapping):
            walk(value, inner, rows)
        elif isinstance(value, list) and (value or inner.list):
            for item in value:
                entries = rows.entry(inner)
                walk(item, entries.schema.root, entries)
                entries.end_row()
        elif not isinstance(value, list):
            rows.put(inner.column, value)


RECORDS = RecordSchema.of(PEOPLE)


def build_pages(pages: Sequence[Sequence[Record]]) -> list[Page]:
    """Pages as a reader builds them, all with the same schema."""
    built: list[Page] = []
    for records in pages:
        rows = Rows(RECORDS)
        for record in records:
            walk(record, RECORDS.root, rows)
            rows.end_row()
        part = Records(rows.texts(), lambda n: f"the text of record {n}", rows.count)
        built.append(build_page(PEOPLE, Decoded([part])))
    return built


def build(records: Sequence[Record]) -> Page:
    return build_pages([records])[0]


def converted(values: Sequence[str | None], column_type: ColumnType) -> tuple[list[Any], list[int]]:
    array, unfit = convert(pa.array(values, pa.string()), column_type)
    assert array.type == ARROW_TYPES[column_type]
    return array.to_pylist(), unfit


# Values


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_64_bit_integer_is_a_bigint(number: int) -> None:
    assert converted([str(number)], BIGINT) == ([number], [])


@given(st.one_of(st.integers(max_value=-(2**63) - 1), st.integers(min_value=2**63)))
def test_an_integer_beyond_64_bits_does_not_fit(number: int) -> None:
    assert converted([str(number)], BIGINT) == ([None], [0])


times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(
    lambda time: time.replace(tzinfo=UTC)
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(times)
def test_both_documented_forms_of_a_time_are_read(time: datetime) -> None:
    second = time.replace(microsecond=0)
    forms = [second.strftime("%Y-%m-%d %H:%M:%S UTC"), second.strftime("%Y-%m-%dT%H:%M:%SZ")]
    assert converted(forms, TIMESTAMP) == ([second, second], [])


@given(st.lists(times))
def test_a_time_as_ruby_prints_it_is_read_among_others(found: list[datetime]) -> None:
    seconds = [time.replace(microsecond=0) for time in found]
    forms = [time.strftime("%a %b %d %H:%M:%S UTC %Y") for time in seconds]
    assert converted([*forms, "2008-12-19 19:52:00 UTC"], TIMESTAMP) == (
        [*seconds, datetime(2008, 12, 19, 19, 52, tzinfo=UTC)],
        [],
    )


@given(times, offsets)
def test_a_time_with_an_offset_is_that_instant_in_utc(time: datetime, offset: timezone) -> None:
    local = time.astimezone(offset)
    forms = [local.isoformat(), local.strftime("%Y-%m-%d %H:%M:%S.%f%z")]
    assert converted(forms, TIMESTAMP) == ([time, time], [])


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2014-12-05T10:00:00.00", datetime(2014, 12, 5, 10, tzinfo=UTC)),
        ("2014-12-05 10:00:00.5 UTC", datetime(2014, 12, 5, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2014-12-05T10:00:00.123456Z", datetime(2014, 12, 5, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2014-12-05T10:00:00.25-05:00", datetime(2014, 12, 5, 15, 0, 0, 250_000, tzinfo=UTC)),
        ("2010-01-01 12:00:00", datetime(2010, 1, 1, 12, tzinfo=UTC)),
        ("2010-01-01", datetime(2010, 1, 1, tzinfo=UTC)),
        (" 2010-01-01 12:00:00 UTC\n", datetime(2010, 1, 1, 12, tzinfo=UTC)),
        ("\n Wed Oct 01 04:19:17 -0500 2008 ", datetime(2008, 10, 1, 9, 19, 17, tzinfo=UTC)),
        ("9999-12-31 23:59:59 UTC", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_fractions_dates_and_times_without_a_zone_are_read_as_utc(
    text: str, time: datetime
) -> None:
    assert converted([text], TIMESTAMP) == ([time], [])


@pytest.mark.parametrize(
    "zero",
    ["0000-00-00 00:00:00", "0000-00-00 00:00:00 UTC", "0000-00-00T00:00:00Z", "0000-00-00"],
)
def test_the_zero_date_is_no_time_and_no_mistake(zero: str) -> None:
    assert converted([zero], TIMESTAMP) == ([None], [])


@pytest.mark.parametrize(
    "text", ["0000-00-00 garbage", "0000-00-00 12:00:00", "0000-00-001", "0000-00-00T00:00:00Zx"]
)
def test_what_only_begins_like_the_zero_date_is_a_mistake(text: str) -> None:
    texts = ["0000-00-00 00:00:00 UTC", text, "2019-06-21 14:49:40 UTC"]
    good = datetime(2019, 6, 21, 14, 49, 40, tzinfo=UTC)
    assert converted(texts, TIMESTAMP) == ([None, None, good], [1])


@pytest.mark.parametrize(
    "text", ["1980-02-29", " 1980-02-29\n", "1980-02-29T00:00:00+0000", "1980-02-29 23:59:59 UTC"]
)
def test_a_date_is_the_day_as_it_is_printed(text: str) -> None:
    assert converted([text, None, "", "2000-01-01"], DATE) == (
        [date(1980, 2, 29), None, None, date(2000, 1, 1)],
        [],
    )


@pytest.mark.parametrize("zero", ["0000-00-00", "0000-00-00 00:00:00", "0000-00-00T00:00:00+0000"])
def test_the_zero_date_is_no_date(zero: str) -> None:
    assert converted([zero, "2000-01-01"], DATE) == ([None, date(2000, 1, 1)], [])


@pytest.mark.parametrize(
    "text", ["1981-02-29", "2/3/1980", "1980-02-29 garbage", "0000-01-01", "19800-01-01", "soon"]
)
def test_what_is_no_date_costs_only_itself(text: str) -> None:
    assert converted(["2000-01-01", text], DATE) == ([date(2000, 1, 1), None], [1])


@pytest.mark.parametrize("impossible", ["0000-01-01 00:00:00", "0001-01-01T00:00:00+05:00"])
def test_a_time_in_a_year_that_no_calendar_has_costs_only_itself(impossible: str) -> None:
    good = datetime(2019, 6, 21, 14, 49, 40, tzinfo=UTC)
    texts = [impossible, "no time", "2019-06-21 14:49:40 UTC"]
    values, unfit = converted(texts, TIMESTAMP)
    assert values == [None, None, good]
    assert 1 in unfit
    assert converted(texts[:1], TIMESTAMP)[0] == [None]


@pytest.mark.parametrize(
    ("text", "flag"),
    [("true", True), ("false", False), ("True", True), ("1", True), ("0", False), (" no ", False)],
)
def test_flags_are_read_in_each_spelling(text: str, flag: bool) -> None:
    assert converted([text], BOOLEAN) == ([flag], [])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_double_is_read_exactly(number: float) -> None:
    assert converted([repr(number)], DOUBLE) == ([number], [])


@given(st.decimals(-(10**20), 10**20, places=9))
def test_a_decimal_is_read_exactly(number: Decimal) -> None:
    assert converted([f"{number:f}"], DECIMAL) == ([number], [])


GOOD: Mapping[ColumnType, Mapping[str, Any]] = {
    BIGINT: {"0": 0, "-12": -12, "9223372036854775807": 2**63 - 1},
    BOOLEAN: {"true": True, "false": False},
    DATE: {"2008-10-01": date(2008, 10, 1), "1920-02-29": date(1920, 2, 29), "0000-00-00": None},
    DECIMAL: {"10.50": Decimal("10.5"), "-3": Decimal(-3)},
    DOUBLE: {"38.906639": 38.906639, "-77": -77.0},
    TIMESTAMP: {
        "2019-06-21 14:49:40 UTC": datetime(2019, 6, 21, 14, 49, 40, tzinfo=UTC),
        "2019-06-21T14:49:40Z": datetime(2019, 6, 21, 14, 49, 40, tzinfo=UTC),
    },
}
UNFIT: Mapping[ColumnType, Sequence[str]] = {
    BIGINT: ["12a", "1.5", "1e3", "1,000", "--5", "9223372036854775808", "0x10", "٣", "nan"],
    BOOLEAN: ["maybe", "2", "truely", "-"],
    DATE: ["2019-02-29", "0000-01-01", "10/01/2008", "today"],
    DECIMAL: ["$10", "1,000.00", "ten", "nan", "0.0000000001", "1" * 40],
    DOUBLE: ["nan", "NaN", "inf", "-Infinity", "1e400", "1,5", "north"],
    TIMESTAMP: [
        *("soon", "2019-02-30", "2019-06-21 24:00:00", "1561128580", "21/06/2019", "14:49"),
        *("Wed Foo 01 04:19:17 UTC 2008", "Wed Oct 32 04:19:17 UTC 2008"),
    ],
}
typed = pytest.mark.parametrize("column_type", list(GOOD), ids=lambda kind: kind.name.lower())


@typed
@given(data=st.data())
def test_unfit_values_are_null_with_their_position_and_all_others_stay(
    column_type: ColumnType, data: st.DataObject
) -> None:
    good, unfit = GOOD[column_type], UNFIT[column_type]
    texts = data.draw(st.lists(st.sampled_from([*good, *unfit, "", "  ", None]), max_size=12))
    values, positions = converted(texts, column_type)
    assert values == [good.get(text or "") for text in texts]
    assert positions == [n for n, text in enumerate(texts) if text in unfit]


@typed
def test_each_of_these_does_not_fit(column_type: ColumnType) -> None:
    taken = [text for text in UNFIT[column_type] if converted([text], column_type) != ([None], [0])]
    assert taken == []


# Records


@given(st.text(min_size=1))
def test_text_is_kept_verbatim(text: str) -> None:
    page = build([{"id": "1", "name": text, "new": text}])
    assert page.table["name"].to_pylist() == [text]
    assert page.table["new"].to_pylist() == [text]


@pytest.mark.parametrize(
    "text", ["  two  blanks ", "a\nb\r\n", "\U0001f469\u200d\U0001f467 \u00e9"]
)
def test_blanks_line_ends_and_emoji_are_kept(text: str) -> None:
    assert build([{"id": "1", "name": text}]).table["name"].to_pylist() == [text]


def test_what_is_empty_is_null_and_still_makes_its_column() -> None:
    page = build([{"id": "1", "name": "", "age": "", "joined_at": "", "new": ""}])
    assert page.table.to_pylist() == [
        {"id": 1, "name": None, "age": None, "joined_at": None, "new": None}
    ]
    assert page.rejects == []


def test_known_columns_are_there_without_any_record() -> None:
    page = build([])
    assert page.table.column_names == ["id", "name", "age", "joined_at"]
    assert page.children["paths"].column_names == [ROW, "id", "name"]
    assert set(page.children["paths__tags"].column_names) == {ROW, "path_id", "tag", "weight"}


def test_an_undeclared_path_becomes_a_text_column_named_by_it() -> None:
    page = build([{"id": "1"}, {"id": "2", "home": {"geo": {"zipCode": "07030"}, "floor": "3"}}])
    assert page.table.schema.field("home__geo__zip_code").type == pa.string()
    assert page.table["home__geo__zip_code"].to_pylist() == [None, "07030"]
    assert page.table["home__floor"].to_pylist() == [None, "3"]


def test_a_value_that_does_not_fit_is_rejected_with_its_key_and_its_text() -> None:
    page = build([{"id": "1", "age": "12"}, {"id": "2", "age": "twelve", "name": "Ada"}])
    assert page.table["age"].to_pylist() == [12, None]
    assert page.table["name"].to_pylist() == [None, "Ada"]
    (reject,) = page.rejects
    assert (reject.row_key, reject.column, reject.payload) == ("2", "age", "twelve")
    assert reject.table is None


def test_a_second_value_for_the_same_column_is_not_lost() -> None:
    page = build([{"id": "1", "name": "Ada", "Name": "Grace"}])
    assert page.table["name"].to_pylist() == ["Ada"]
    assert [(reject.column, reject.payload) for reject in page.rejects] == [("name", "Grace")]


def test_the_same_value_twice_for_a_column_is_no_mistake() -> None:
    page = build([{"id": "1", "name": "Ada", "Name": "Ada", "NAME": ""}])
    assert page.table["name"].to_pylist() == ["Ada"]
    assert page.rejects == []


@pytest.mark.parametrize("key", ["", "12a"])
def test_a_record_without_its_key_is_rejected_whole_and_takes_its_lists_along(key: str) -> None:
    page = build(
        [
            {"id": "1", "paths": [{"id": "10", "name": "a", "tags": [{"tag": "x"}]}]},
            {"id": key, "paths": [{"id": "20", "name": "b", "tags": [{"tag": "y"}]}]},
            {"id": "3", "paths": [{"id": "30", "name": "c", "tags": [{"tag": "z"}]}]},
        ]
    )
    assert page.rows == 3
    assert page.table["id"].to_pylist() == [1, 3]
    assert page.children["paths"].select([ROW, "name"]).to_pylist() == [
        {ROW: 0, "name": "a"},
        {ROW: 1, "name": "c"},
    ]
    assert page.children["paths__tags"][ROW].to_pylist() == [0, 1]
    assert [(reject.column, reject.payload) for reject in page.rejects] == [
        (None, "the text of record 1")
    ]


def test_entries_of_a_list_in_a_list_carry_both_keys() -> None:
    page = build(
        [
            {"id": "1"},
            {
                "id": "2",
                "paths": [
                    {"id": "20", "tags": [{"tag": "a"}, {"tag": "b", "weight": "much"}]},
                    {"id": "21", "tags": [{"tag": "c", "weight": "3"}]},
                ],
            },
        ]
    )
    assert sorted(page.children["paths__tags"].to_pylist(), key=lambda row: row["tag"]) == [
        {ROW: 1, "path_id": 20, "tag": "a", "weight": None},
        {ROW: 1, "path_id": 20, "tag": "b", "weight": None},
        {ROW: 1, "path_id": 21, "tag": "c", "weight": 3},
    ]
    (reject,) = page.rejects
    assert (reject.row_key, reject.table, reject.column, reject.payload) == (
        "2",
        "paths__tags",
        "weight",
        "much",
    )


entry_records = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", ""]),
        "tags": st.lists(st.fixed_dictionaries({"tag": st.sampled_from("xyz")}), max_size=3),
    },
)
#: Lists nobody declared, on some pages only, and with entries that hold nothing at all.
undeclared = st.lists(st.sampled_from([{}, {"kind": "k"}, {"note": "n"}]), max_size=3)
person_records = st.fixed_dictionaries(
    {},
    optional={"paths": st.lists(entry_records, max_size=3), "badges": undeclared},
)
people = st.lists(st.lists(person_records, max_size=5), min_size=1, max_size=4)


def number(pages: Sequence[Sequence[Record]]) -> list[list[dict[str, Any]]]:
    """Give each record an id, each path one, and each tag a text that says where it belongs."""
    numbered: list[list[dict[str, Any]]] = []
    count = 0
    for records in pages:
        page: list[dict[str, Any]] = []
        for record in records:
            count += 1
            paths = [
                {
                    **path,
                    "id": str(100 * count + n),
                    "tags": [
                        {"tag": f"{count}/{100 * count + n}/{tag['tag']}"}
                        for tag in path.get("tags", ())
                    ],
                }
                for n, path in enumerate(record.get("paths", ()))
            ]
            page.append({**record, "id": str(count), "paths": paths})
        numbered.append(page)
    return numbered


def attached(page: Page) -> dict[str, dict[int, list[Any]]]:
    """List → id of the record → its entries, without what only some pages have columns for."""
    ids = page.table["id"].to_pylist()
    found: dict[str, dict[int, list[Any]]] = {}
    for suffix, entries in page.children.items():
        assert entries.column_names.count(ROW) == 1
        lists: dict[int, list[Any]] = defaultdict(list)
        for entry in entries.to_pylist():
            shown = {name: value for name, value in entry.items() if value is not None}
            lists[ids[shown.pop(ROW)]].append(shown)
        found[suffix] = dict(lists)
    return found


def expected(records: Sequence[Record]) -> dict[str, dict[int, list[Any]]]:
    found: dict[str, dict[int, list[Any]]] = {}
    for record in records:
        owner = int(record["id"])
        for path in record["paths"]:
            shown = {"id": int(path["id"]), **({"name": path["name"]} if path.get("name") else {})}
            found.setdefault("paths", {}).setdefault(owner, []).append(shown)
            for tag in path["tags"]:
                shown = {"path_id": int(path["id"]), "tag": tag["tag"]}
                found.setdefault("paths__tags", {}).setdefault(owner, []).append(shown)
        for badge in record.get("badges", ()):
            found.setdefault("badges", {}).setdefault(owner, []).append(dict(badge))
    return found


def without_empty(lists: Mapping[str, Mapping[int, list[Any]]]) -> dict[str, Any]:
    return {suffix: entries for suffix, entries in lists.items() if entries}


@given(people)
def test_entries_stay_with_their_records_when_pages_are_put_together(
    drawn: list[list[Record]],
) -> None:
    pages = number(drawn)
    together = concat_pages(build_pages(pages))
    records = [record for page in pages for record in page]
    assert together.rows == len(records)
    assert together.table["id"].to_pylist() == [int(record["id"]) for record in records]
    assert without_empty(attached(together)) == expected(records)


@given(people, st.randoms(use_true_random=False))
def test_entries_stay_with_their_records_when_records_are_left_out(
    drawn: list[list[Record]], random: Any
) -> None:
    pages = number(drawn)
    records = [record for page in pages for record in page]
    keep = [random.random() < 0.5 for _ in records]
    page = filter_page(concat_pages(build_pages(pages)), keep)
    kept = [record for record, wanted in zip(records, keep) if wanted]
    assert page.table["id"].to_pylist() == [int(record["id"]) for record in kept]
    assert without_empty(attached(page)) == expected(kept)


def test_rejects_of_all_pages_are_kept_when_pages_are_put_together() -> None:
    pages = [
        build([{"id": "1", "age": "x"}]),
        build([{"id": "2"}]),
        build([{"id": "", "age": "1"}]),
    ]
    together = concat_pages(pages)
    assert [(reject.row_key, reject.column) for reject in together.rejects] == [
        ("1", "age"),
        (None, None),
    ]
    assert together.rows == 3


@given(
    st.lists(st.lists(st.sampled_from(["7", "old"]), max_size=4), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_a_reject_stays_with_the_record_whose_value_it_is(
    ages: list[list[str]], random: Any
) -> None:
    pages = number([[{"age": age} for age in page] for page in ages])
    together = concat_pages(build_pages(pages))
    keep = [random.random() < 0.5 for _ in range(together.table.num_rows)]
    for page in (together, filter_page(together, keep)):
        ids = page.table["id"].to_pylist()
        assert len(page.rejects) == sum(page.count("old") for page in ages)
        for reject in page.rejects:
            if reject.row is None:
                assert int(reject.row_key or 0) not in ids
            else:
                assert ids[reject.row] == int(reject.row_key or 0)


def test_a_column_that_only_one_page_has_is_null_in_the_others() -> None:
    together = concat_pages(build_pages([[{"id": "1"}], [{"id": "2", "new": "x"}]]))
    assert together.table["new"].to_pylist() == [None, "x"]


# Keys of rows without an id

IDENTITY = ("asked_at", "input")
SCHEMA = pa.schema(
    [("asked_at", pa.timestamp("us", "UTC")), ("input", pa.string()), ("status", pa.string())]
)
query_rows = st.lists(
    st.fixed_dictionaries(
        {
            "asked_at": st.sampled_from(
                [None, datetime(2024, 1, 31, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)]
            ),
            "input": st.sampled_from([None, "", "None", "pizza", "pizza "]),
            "status": st.sampled_from([None, "Active", "Opted-Out"]),
        }
    ),
    max_size=12,
)


def keyed(rows: Sequence[Record]) -> pa.Table:
    return add_row_keys(pa.Table.from_pylist(list(rows), SCHEMA), "query_key", IDENTITY)


def keys_of(rows: Sequence[Record]) -> list[str]:
    keys: list[str] = keyed(rows)["query_key"].to_pylist()
    return keys


@pytest.mark.parametrize("name", ["", " ", "_", "_row", "_dlt_load_id", "_Deleted", "\u200b"])
def test_no_name_a_service_sends_is_one_of_ours_or_none(name: str) -> None:
    assert column_name(name)
    assert not column_name(name).startswith("_")


def test_a_column_named_like_the_computed_key_is_kept_under_another_name() -> None:
    table = add_row_keys(pa.table({"a": ["x"], "query_key": ["sent"]}), "query_key", ["a"])
    assert table["query_key_sent"].to_pylist() == ["sent"]
    assert table["query_key"].to_pylist() != ["sent"]
    assert len(table.column_names) == 3


def test_rows_whose_times_cannot_be_read_are_told_apart_by_them() -> None:
    rows = [{"asked_at": None, "input": "STOP"}] * 3
    table = pa.Table.from_pylist(rows, SCHEMA)
    counts: Counter[str] = Counter()

    def keys(undated: Mapping[int, str]) -> list[str]:
        keyed = add_row_keys(table, "query_key", IDENTITY, undated, counts)
        met: list[str] = keyed["query_key"].to_pylist()
        return met

    first = keys({0: "yesterday", 1: "today"})
    # In another window, which nobody can tell: the ordinals go on.
    second = keys({0: "yesterday"})
    assert len({*first, second[0]}) == 4
    # Without a time at all it may be the same row, which belongs to every window.
    assert first[2] in second
    counts.clear()
    assert keys({0: "yesterday", 1: "today"}) == first


def test_a_value_that_the_service_sent_under_our_name_is_kept_beside() -> None:
    table = pa.table({"id": ["a", "b"], "owner": ["1", None], "owner_sent": ["x", "y"]})
    assert with_column(table, "owner", pa.array([1, 1])).to_pylist() == [
        {"id": "a", "owner": 1, "owner_sent": "x"},
        {"id": "b", "owner": 1, "owner_sent": "y"},
    ]
    assert with_column(table, "owner", pa.array([2, 2])).to_pylist() == [
        {"id": "a", "owner": 2, "owner_sent": "x", "owner_sent_sent": "1"},
        {"id": "b", "owner": 2, "owner_sent": "y", "owner_sent_sent": None},
    ]
    assert with_column(table, "new", pa.array([2, 2])).column_names[0] == "new"


@given(query_rows, st.randoms(use_true_random=False))
def test_the_same_rows_get_the_same_keys_in_whatever_order_they_come(
    rows: list[Record], random: Any
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    met = [sorted(map(repr, keyed(order).to_pylist())) for order in (rows, shuffled)]
    assert met[0] == met[1]


@given(query_rows, st.integers(0, 12))
def test_the_same_rows_get_the_same_keys_however_they_are_split_over_pages(
    rows: list[Record], at: int
) -> None:
    pages = [pa.Table.from_pylist(part, SCHEMA) for part in (rows[at:], rows[:at])]
    keys = add_row_keys(pa.concat_tables(pages), "query_key", IDENTITY)["query_key"].to_pylist()
    assert sorted(keys) == sorted(keys_of(rows))


@given(query_rows)
def test_no_two_rows_get_the_same_key_not_even_equal_ones(rows: list[Record]) -> None:
    assert len(set(keys_of(rows))) == len(rows)


@given(query_rows, st.data())
def test_what_moves_in_a_row_leaves_the_keys_as_they_are(
    rows: list[Record], data: st.DataObject
) -> None:
    moved = [
        {**row, "status": data.draw(st.sampled_from([None, "Active", "Undeliverable"]))}
        for row in rows
    ]
    assert sorted(keys_of(moved)) == sorted(keys_of(rows))


@given(query_rows, query_rows)
def test_a_row_keeps_its_key_whatever_other_rows_come_beside_it(
    rows: list[Record], others: list[Record]
) -> None:
    def identity(row: Record) -> tuple[Any, ...]:
        return tuple(row[name] for name in IDENTITY)

    known = {identity(row) for row in rows}
    others = [row for row in others if identity(row) not in known]
    assert set(keys_of(rows)) <= set(keys_of([*others, *rows]))


def test_a_column_that_appears_later_leaves_the_keys_as_they_are() -> None:
    rows = [{"asked_at": None, "input": "pizza", "status": status} for status in ("b", "a", None)]
    table = pa.Table.from_pylist(rows, SCHEMA)
    wider = table.append_column("new", pa.array(["x", None, "y"]))
    keys = [add_row_keys(t, "query_key", IDENTITY)["query_key"].to_pylist() for t in (table, wider)]
    assert sorted(keys[0]) == sorted(keys[1])


# Columns


@pytest.mark.parametrize(("value", "kind"), [(7, pa.int64()), ("pizza", pa.string())])
@pytest.mark.parametrize("count", [0, 2])
def test_a_constant_fills_its_column_and_leaves_the_others(
    value: int | str, kind: pa.DataType, count: int
) -> None:
    table = pa.table({"id": pa.array(range(count), pa.int64()), "old": pa.nulls(count, kind)})
    for column in ("old", "new"):
        filled = constant(table, column, value)
        assert filled.schema.field(column).type == kind
        assert filled[column].to_pylist() == [value] * count
        assert filled.column_names.count(column) == 1
        assert filled["id"] == table["id"]


#: What XML allows for a name, with the letters of other alphabets.
xml_names = st.from_regex(r"[A-Za-z_\u00e9\u0436][A-Za-z0-9_.\-\u00e9\u0436]{0,12}", fullmatch=True)


@given(xml_names, xml_names)
def test_dlt_leaves_the_names_of_columns_and_tables_as_they_are(name: str, inner: str) -> None:
    naming = NamingConvention()
    column = column_name(name)
    fields = PageFields()
    path = fields.find(fields.find(RECORDS.root, name), inner).column
    assert column
    assert naming.normalize_path(column) == column
    assert naming.normalize_path(path) == path
    if "__" not in column:
        assert naming.normalize_identifier(column) == column


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("phone_number", "phone_number"),
        ("phoneNumber", "phone_number"),
        ("opt-in-path", "opt_in_path"),
        ("geo.zip", "geo_zip"),
        ("2nd", "_2nd"),
    ],
)
def test_a_name_becomes_snake_case(name: str, column: str) -> None:
    assert column_name(name) == column
    assert column == NamingConvention().normalize_identifier(name) or "." in name


@pytest.mark.parametrize("name", ["xmin", "CTID", "tableoid"])
def test_no_column_is_called_like_one_of_postgres_own(name: str) -> None:
    assert column_name(name) == f"x_{name.lower()}"


@given(st.text("abc_é", min_size=1, max_size=400))
def test_the_name_of_a_table_fits_every_warehouse_and_stays_the_same_in_dlt(name: str) -> None:
    page = build([{"id": "1", name: [{"x": "1"}, {"x": "2"}]}])
    (suffix,) = {suffix for suffix, rows in page.children.items() if rows.num_rows}
    table = f"people__{suffix}"
    assert len(table) <= 63
    assert NamingConvention(63).normalize_tables_path(table) == table
    other = build([{"id": "1", f"{name}b": [{"x": "1"}]}])
    assert suffix not in {suffix for suffix, rows in other.children.items() if rows.num_rows}


def test_a_page_brings_no_more_than_so_many_new_fields() -> None:
    fields = PageFields()
    found = {fields.find(RECORDS.root, f"new{n}").column for n in range(MAX_NEW_FIELDS)}
    assert found == {f"new{n}" for n in range(MAX_NEW_FIELDS)}
    assert not fields.exceeded
    assert fields.find(RECORDS.root, "one_more").skip
    assert fields.exceeded
    # Those found before, and declared ones, are still found, and another page begins anew.
    fields.exceeded = False
    assert fields.find(RECORDS.root, "new0").column == "new0"
    assert fields.find(RECORDS.root, "id").declared
    assert not fields.exceeded
    assert PageFields().find(RECORDS.root, "one_more").column == "one_more"


def test_decoding_changes_no_schema() -> None:
    (page,) = build_pages([[{"id": "1", "never_seen": "x", "lists": [{"y": "1"}]}]])
    assert page.table["never_seen"].to_pylist() == ["x"]
    assert page.children["lists"].num_rows == 1
    (other,) = build_pages([[{"id": "1"}]])
    assert "never_seen" not in other.table.column_names
    assert "lists" not in other.children


@given(
    lists=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=12),
    most=st.integers(1, 20),
)
def test_a_page_is_split_between_records_and_its_pieces_are_that_page(
    lists: list[tuple[int, int]], most: int
) -> None:
    children = {
        name: pa.table(
            {
                ROW: pa.array(
                    [n for n, counts in enumerate(lists) for _ in range(counts[at])], pa.int64()
                ),
                "value": [
                    f"{n} {each}" for n, counts in enumerate(lists) for each in range(counts[at])
                ],
            },
            pa.schema([(ROW, pa.int64()), ("value", pa.string())]),
        )
        for at, name in enumerate(("paths", "pets"))
    }
    page = Page(len(lists), pa.table({"id": pa.array(range(len(lists)), pa.int64())}), children, [])
    pieces = list(split_page(page, most))
    joined = concat_pages(pieces)
    assert joined.table == page.table
    assert joined.children == page.children
    largest = max((1 + sum(counts) for counts in lists), default=0)
    assert all(piece.num_rows < most + largest for piece in pieces)
    assert all(piece.table.num_rows for piece in pieces) or not lists
