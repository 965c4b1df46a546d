"""Decode a page of XML column by column.

The result equals that of decoding element by element, in a third of the time. The bytes are an
array. For all tags at once, this module computes their start and end, their element, and the row
and column of their text. Each text is copied once, from the body into an Arrow column. Most of this
releases Python's lock, so threads decode pages in parallel.

No library does this without loss. xml2arrow takes a third of the time, but ignores undeclared
elements and text around elements, and accepts control characters. So it cannot tell which pages it
reads completely.

This module decodes only the usual pages: well-formed XML without comments, CDATA sections and
namespaces. Undeclared fields contain no elements, and each column occurs once in a row.
:func:`read` declines all other pages, so malformed and rare input needs no rules here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textlift.codec.records import TextColumns
from textlift.codec.schema import Field, PageFields
from textlift.codec.xml_plan import IGNORED, UNDECIDED, UNKNOWN, Numbers, Plan, Table

#: Maximum depth of elements. Records have far fewer levels.
MAX_DEPTH = 32
#: Bytes between two tags, and in a tag. libxml2 accepts texts of 10 million and names of 50,000.
MAX_TEXT = 10_000_000
MAX_TAG = 50_000

_PROLOG = re.compile(
    rb"""(?:<\?xml\s+version\s*=\s*["']1\.0["']"""
    rb"""(?:\s+encoding\s*=\s*["']utf-8["'])?\s*\?>)?\s*(?=<[A-Za-z_])""",
    re.IGNORECASE,
)
#: A tag without attributes, or the part of a tag before the value of its first attribute.
_TAG = re.compile(rb"(/?)([A-Za-z_][\w.-]*)(?: +([A-Za-z_][\w.-]*)=| *(/?))", re.ASCII)
_ATTRIBUTE = re.compile(rb" +([A-Za-z_][\w.-]*)=", re.ASCII)
_REFERENCE = "&(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});"
_WRITTEN = re.compile(_REFERENCE.encode())
_ANY = re.compile(r"&(?:(\w+)|#([0-9]+)|#x([0-9A-Fa-f]+));")
_ENTITIES = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&"}

#: First bytes of non-ASCII blanks and of references.
_RARE_BLANKS = np.frombuffer(b"&\xc2\xe1\xe2\xe3", np.uint8)
#: Bytes that are searched at a time.
_BLOCK = 2**18
#: Maximum number of plans for a page. Undeclared elements are found first, then their attributes.
NEW_LEVELS = 3


class _Declined(Exception):
    """The page must be decoded element by element."""


class _NewNames(Exception):
    """The plan lacks names that the page contains.

    Args:
        found: Pairs of a field and an unknown name below it.
    """

    def __init__(self, found: Iterable[tuple[Field, str]]) -> None:
        self.found = tuple(found)


def read(body: bytes, plan: Plan) -> tuple[TextColumns, dict[str, str]] | None:
    """Return the records of a page, and the attributes of the element that holds them.

    Args:
        body: A response.
        plan: The plan of its endpoint.

    Returns:
        The result of decoding element by element, or ``None`` if the page must be decoded that way.
    """
    fields, new = PageFields(), dict[Field, dict[str, Field]]()
    try:
        reading = _Reading(body)
        for _ in range(NEW_LEVELS):
            try:
                return reading.result(plan)
            except _NewNames as names:
                for field, name in names.found:
                    new.setdefault(field, {})[name] = fields.find(field, name)
                _expect(not fields.exceeded)
                plan = plan.extended(new)
    except _Declined:
        pass
    return None


def _expect(condition: Any) -> None:
    if not condition:
        raise _Declined


class _Reading:
    """The arrays of one page, with a value for each tag, element or attribute."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._buffer = pa.py_buffer(body)
        self._bytes = np.frombuffer(body, np.uint8)
        self._find_characters()
        self._find_tags()
        self._find_attributes()
        self._name_tags()

    def result(self, plan: Plan) -> tuple[TextColumns, dict[str, str]]:
        """Return the records and the attributes of the element that holds them.

        Raises:
            _Declined: The page must be decoded element by element.
            _NewNames: The plan lacks names.
        """
        self._plan = plan
        self._new: list[tuple[Field, str]] = []
        self._find_elements()
        self._name_attributes()
        if self._new:
            raise _NewNames(self._new)
        return self._texts(), self._envelope

    def _pieces(self, starts: Numbers, ends: Numbers) -> pa.Array:
        """Return the body, cut at all starts and ends. Even pieces are the texts between them."""
        if not len(starts):
            return pa.array([], pa.string())
        offsets = np.empty(2 * len(starts), np.int32)
        offsets[0::2], offsets[1::2] = starts, ends
        buffers = [None, pa.py_buffer(offsets), self._buffer]
        return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)

    def _taken(self, starts: Numbers, ends: Numbers) -> pa.Array:
        """Return the texts from starts to ends."""
        pieces = self._pieces(starts, ends)
        return pieces.take(pa.array(np.arange(0, len(pieces), 2)))

    def _joined(self, starts: Numbers, ends: Numbers) -> bytes:
        """Return the texts from starts to ends, one behind the other."""
        texts = self._taken(starts, ends)
        return bytes(texts.buffers()[-1] or b"")

    def _encoded(self, starts: Numbers, ends: Numbers) -> tuple[list[bytes], Numbers]:
        """Return the distinct texts from starts to ends, and the index of each text among them."""
        found = self._taken(starts, ends).dictionary_encode()
        return [text.encode() for text in found.dictionary.to_pylist()], found.indices.to_numpy()

    def _find_characters(self) -> None:
        """Find the brackets of tags, quotes and references; decline control characters."""
        _expect(self._body)
        brackets, marks, controls = [], [], 0
        # Blocks stay in the cache of the processor.
        for at in range(0, len(self._bytes), _BLOCK):
            block = self._bytes[at : at + _BLOCK]
            # XML parsers replace tabs and other line breaks, so decline them.
            controls += np.count_nonzero(block < ord(" ")) - np.count_nonzero(block == ord("\n"))
            # "<" and ">" differ in one bit, so one search finds both. So do quotes and "&".
            brackets.append(np.flatnonzero(block | 2 == ord(">")) + at)
            marks.append(np.flatnonzero(block | 4 == ord("&")) + at)
        _expect(not controls)
        self._brackets = np.concatenate(brackets).astype(np.int32)
        found = np.concatenate(marks).astype(np.int32)
        refers = self._bytes[found] == ord("&")
        self._references, self._quotes = found[refers], found[~refers]

    def _find_tags(self) -> None:
        """Find the bounds of each tag, and whether it opens an element, closes it, or both."""
        body, data = self._body, self._bytes
        prolog = _PROLOG.match(body)
        if prolog is None:
            raise _Declined
        if b"\xef" in body:
            _expect(b"\xef\xbf\xbe" not in body and b"\xef\xbf\xbf" not in body)
        try:
            offsets = pa.py_buffer(np.array([0, len(body)], np.int32))
            pa.Array.from_buffers(pa.string(), 1, [None, offsets, self._buffer]).validate(full=True)
        except pa.ArrowInvalid:
            raise _Declined from None
        brackets = self._brackets[np.searchsorted(self._brackets, prolog.end()) :]
        opens = data[brackets] == ord("<")
        alternate = len(opens) % 2 == 0 and opens[0::2].all() and not opens[1::2].any()
        if alternate:
            starts, ends = brackets[0::2].copy(), brackets[1::2].copy()
        else:
            starts, ends = brackets[opens], brackets[~opens]
        last = data[ends - 1]
        # "]]>" is allowed only at the end of a CDATA section.
        _expect((data[ends[last == ord("]")] - 2] != ord("]")).all())
        if not alternate:
            # Texts may contain an unescaped ">".
            at = np.searchsorted(ends, starts)
            _expect(len(starts) and at[-1] < len(ends))
            ends, last = ends[at], last[at]
        _expect(len(starts) and (starts < ends).all() and (ends[:-1] < starts[1:]).all())
        _expect(not body[ends[-1] + 1 :].strip(b" \n"))
        # lxml rejects longer texts and tags.
        gaps = np.diff(starts, prepend=0, append=len(body))
        _expect(gaps.max() < MAX_TEXT and (ends - starts).max() < MAX_TAG)
        self._starts, self._ends = starts, ends
        self._closes = data[starts + 1] == ord("/")
        self._is_empty = (last == ord("/")) & ~self._closes

    def _find_attributes(self) -> None:
        """Find the start and end of each attribute value, and the tag of the attribute."""
        quotes = self._quotes
        tags = _places_among(self._starts, quotes) - 1
        inside = (tags >= 0) & (quotes < self._ends[tags])
        quotes, tags = quotes.compress(inside), tags.compress(inside)
        # A ">" in a value looks like the end of the tag.
        _expect(len(quotes) % 2 == 0 and (tags[0::2] == tags[1::2]).all())
        self._opening, self._closing, self._owners = quotes[0::2], quotes[1::2], tags[0::2]
        #: Which attributes are the first ones of their tags.
        self._first = np.ones(len(self._owners), np.bool_)
        self._first[1:] = self._owners[1:] != self._owners[:-1]
        # XML parsers replace a line break in a value by a blank, so decline it.
        _expect(b"\n" not in self._joined(self._opening + 1, self._closing))

    def _name_tags(self) -> None:
        """Assign a number to each tag name."""
        name_ends = self._ends.copy()
        first = np.flatnonzero(self._first)
        name_ends[self._owners[first]] = self._opening[first]
        found, indices = self._encoded(self._starts + 1, name_ends)
        local: dict[bytes, int] = {}
        numbers = []
        self._first_names = []
        for text in found:
            match = _TAG.fullmatch(text)
            if match is None or (match[1] and (match[3] or match[4])):
                raise _Declined
            numbers.append(local.setdefault(match[2], len(local)))
            self._first_names.append(match[3] or b"")
        self._owns = np.zeros(len(self._starts), np.bool_)
        self._owns[self._owners] = True
        _expect((np.array([bool(name) for name in self._first_names])[indices] == self._owns).all())
        self._local = local
        self._tag_texts = indices
        self._name = np.array(numbers, np.int32)[indices]

    def _find_elements(self) -> None:
        """Find the place of each element, from the root down, and check the nesting of tags."""
        plan = self._plan
        known = np.array([plan.names.get(name, plan.other) for name in self._local], np.int32)
        known_name = known[self._name]
        change = 1 - 2 * self._closes.view(np.int8) - self._is_empty.view(np.int8)
        after = np.cumsum(change, dtype=np.int32)
        depth = after - (change == 1)
        _expect(after[-1] == 0 and (after[:-1] > 0).all() and depth.max() < MAX_DEPTH)
        places, above = np.zeros((2, len(depth)), np.int16)
        is_rooted = bool(self._name[0] == self._local.get(plan.root_name, -1))
        _expect(is_rooted or self._name[0] == self._local.get(plan.envelope, -1))
        places[0] = plan.outer[int(is_rooted)]
        by_depth = np.argsort(depth.astype(np.int8), kind="stable")
        bounds = np.searchsorted(depth[by_depth], np.arange(depth.max() + 2))
        opened = np.zeros(1, np.int64)
        for level in range(depth.max() + 1):
            tags = by_depth[bounds[level] : bounds[level + 1]]
            pairs = tags.compress(~self._is_empty[tags])
            opening, closing = pairs[0::2], pairs[1::2]
            _expect((self._name[opening] == self._name[closing]).all())
            if level:
                elements = tags.compress(~self._closes[tags])
                parents = opened[np.searchsorted(opened, elements) - 1]
                above[elements] = places[parents]
                places[elements] = plan.steps[above[elements], known_name[elements]]
            opened = opening
        elements = np.flatnonzero(~self._closes)
        self._elements, self._places = elements, places[elements]
        unknown, above = self._places == UNKNOWN, above[elements]
        _expect(not (unknown & plan.is_list[above]).any())
        self._note_new(above, [*self._local], self._name[elements], unknown)
        outer = [np.flatnonzero(self._places == place) for place in plan.outer[int(is_rooted) :]]
        # A response with several lists is malformed.
        _expect(all(len(found) == 1 for found in outer))
        self._holder = elements[outer[-1][0]]
        # A record inside a record becomes a reject, so decline the page.
        records = self._name[elements] == self._local.get(plan.record, -1)
        _expect((self._places[records] == plan.tables[0].row).all() and records.any())
        self._tag_places = places

    def _note_new(
        self, places: Numbers, names: Sequence[bytes], which: Numbers, unknown: Numbers
    ) -> None:
        """Record the names of elements or attributes that the plan lacks at these places."""
        pairs = {*zip(places[unknown].tolist(), which[unknown].tolist())}
        for place, name in pairs:
            field = self._plan.fields[place]
            if field is None:
                raise _Declined
            self._new.append((field, names[name].decode()))

    def _name_attributes(self) -> None:
        """Find the slot of each attribute, and the attributes of the holder of the records."""
        first, owners = self._first, self._owners
        is_last = np.ones(len(owners), np.bool_)
        is_last[:-1] = first[1:]
        last = np.flatnonzero(is_last)
        behind = self._ends[owners[last]] - self._closing[last] - 1
        for at in np.flatnonzero(behind != self._is_empty[owners[last]]):
            end = self._closing[last[at]] + 1
            _expect(self._body[end : end + behind[at]].lstrip(b" ") in (b"", b"/"))
        more = np.flatnonzero(~first)
        found, indices = self._encoded(self._closing[more - 1] + 1, self._opening[more])
        names = self._first_names.copy()
        for text in found:
            match = _ATTRIBUTE.fullmatch(text)
            if match is None:
                raise _Declined
            names.append(match[1])
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        _expect(b"xmlns" not in numbers)
        which = np.empty(len(owners), np.int64)
        which[np.flatnonzero(first)] = self._tag_texts[owners.compress(first)]
        which[more] = len(self._first_names) + indices
        local = np.array([numbers[name] for name in names], np.int64)[which]
        once = np.sort(owners * np.int64(len(numbers) + 1) + local)
        _expect((once[1:] != once[:-1]).all())
        known = np.array([self._plan.names.get(name, self._plan.other) for name in names], np.int32)
        slots = self._plan.attributes[self._tag_places[owners], known[which]]
        self._note_new(self._tag_places[owners], names, which, slots == UNDECIDED)
        self._attribute_slots = slots
        here = np.flatnonzero(owners == self._holder)
        values = [self._body[self._opening[n] + 1 : self._closing[n]].decode() for n in here]
        self._envelope = {
            names[which[n]].decode(): _ANY.sub(_character, value) for n, value in zip(here, values)
        }

    def _texts(self) -> TextColumns:
        """Return the records, with the tables of their lists."""
        plan, elements, places = self._plan, self._elements, self._places
        rows_of = [np.flatnonzero(places == table.row) for table in plan.tables]
        row_of = np.zeros(len(elements), np.int32)
        tables = plan.table_of[places]
        for number in range(len(plan.tables)):
            here = np.flatnonzero(tables == number)
            row_of[here] = np.searchsorted(rows_of[number], here, "right") - 1
        # The last tag closes the root, so each element is followed by a tag.
        starts, ends = self._ends[elements] + 1, self._starts[elements + 1]
        wanted, exists = self._element_cells(starts, ends)
        slots = self._attribute_slots
        exists[slots.compress(slots >= 0)] = True
        full = (slots >= 0) & (self._closing - self._opening > 1)
        values, order = self._values(
            np.concatenate([starts[wanted], self._opening[full] + 1]),
            np.concatenate([ends[wanted], self._closing[full]]),
        )
        owners = np.searchsorted(elements, self._owners[full])
        slots = np.concatenate([plan.slots[places[wanted]], slots[full]])
        rows = np.concatenate([row_of[wanted], row_of[owners]])
        slot_tables = np.array(plan.slot_tables, np.int32)[slots]
        lists: list[dict[str, TextColumns]] = [{} for _ in plan.tables]
        # The lists of a table have higher numbers than the table.
        for number, table in reversed([*enumerate(plan.tables)]):
            here = np.flatnonzero(slot_tables == number)
            count = len(rows_of[number])
            columns = self._columns(
                table, slots[here], rows[here], order[here], count, values, exists
            )
            parents = np.array([], np.int64)
            if table.parent >= 0:
                above = rows_of[table.parent]
                parents = np.searchsorted(above, rows_of[number], "right") - 1
            texts = TextColumns(
                table.schema, count, columns, pa.array(parents, pa.int64()), lists[number]
            )
            if table.parent >= 0 and count:
                lists[table.parent][table.suffix] = texts
        return texts

    def _element_cells(self, starts: Numbers, ends: Numbers) -> tuple[Numbers, Numbers]:
        """Return the elements whose text is a value, and for each slot whether it has a column."""
        plan, elements, places = self._plan, self._elements, self._places
        size = (ends - starts) * ~self._is_empty[elements]
        has_elements = ~self._is_empty[elements] & ~self._closes[elements + 1]
        has_attributes = self._owns[elements]
        is_new = plan.is_new[places]
        # An undeclared element that contains elements can be a list.
        _expect(not (is_new & has_elements).any())
        is_entry = plan.is_entry[places]
        # Blanks are layout in an element that contains or can contain elements, and text elsewhere.
        is_layout = has_elements | (has_attributes & ~is_entry) | plan.holds[places]
        slots = plan.slots[places]
        self._expect_no_loose_text((slots < 0) & (places != IGNORED))
        is_bare = plan.is_bare[places]
        doubtful = (size > 0) & (is_bare | ((is_layout | is_new) & (slots >= 0)))
        begins_blank = np.flatnonzero(doubtful & (self._bytes[starts] <= ord(" ")))
        found, texts = self._encoded(starts[begins_blank], ends[begins_blank])
        is_blank = np.array([text.isspace() for text in found], np.bool_)[texts]
        size[begins_blank[is_blank & (is_layout | is_new | has_attributes)[begins_blank]]] = 0
        # Decline blanks that are not ASCII or are written as references. They are rare.
        doubtful = np.flatnonzero(doubtful & (size > 0))
        _expect(not np.isin(self._bytes[starts[doubtful]], _RARE_BLANKS).any())
        _expect(not (is_bare & (size > 0)).any())
        exists = np.zeros(len(plan.slot_tables), np.bool_)
        is_there = ~is_layout & ~is_entry & ((size > 0) | ~plan.holds[places])
        exists[slots.compress((slots >= 0) & is_there)] = True
        wanted = np.flatnonzero((size > 0) & (slots >= 0))
        exists[slots[wanted]] = True
        return wanted, exists

    def _expect_no_loose_text(self, textless: Numbers) -> None:
        """Decline pages with text after an element, or in elements without a column."""
        checked = np.ones(len(self._starts), np.bool_)
        checked[self._elements] = textless | self._is_empty[self._elements]
        starts, ends = self._ends[:-1] + 1, self._starts[1:]
        gaps = np.flatnonzero(checked[:-1] & (starts < ends))
        _expect(not len(gaps) or self._joined(starts[gaps], ends[gaps]).isspace())

    def _columns(
        self,
        table: Table,
        slots: Numbers,
        rows: Numbers,
        cells: Numbers,
        count: int,
        values: pa.Array,
        exists: Numbers,
    ) -> dict[str, pa.Array]:
        """Return the columns of one table, with each cell in its row."""
        names = [name for name, slot in table.columns.items() if exists[slot]]
        order = np.zeros(len(exists), np.int32)
        order[[table.columns[name] for name in names]] = np.arange(len(names))
        targets = order[slots] * np.int64(count) + rows
        sources = np.full(len(names) * count, -1, np.int64)
        sources[targets] = cells
        # A second value for a column of a row becomes a reject, so decline the page.
        _expect((sources[targets] == cells).all())
        filled = values.take(pa.array(sources, mask=sources < 0))
        columns = {name: filled.slice(n * count, count) for n, name in enumerate(names)}
        for name in names:
            if table.columns[name] in table.padded:
                texts = pc.utf8_trim_whitespace(columns[name])
                columns[name] = pc.if_else(pc.equal(texts, ""), None, texts)
        return columns

    def _values(self, starts: Numbers, ends: Numbers) -> tuple[pa.Array, Numbers]:
        """Return an array with the texts from starts to ends, and the position of each text."""
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
        values = self._pieces(starts, ends)
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(0, 2 * len(order), 2)
        references = self._references
        if len(references):
            _expect(len(starts))
            at = np.searchsorted(starts, references, "right") - 1
            inside = (at >= 0) & (references < ends[at])
            if not inside.all():
                # References outside of the values must be well-formed too.
                _expect(len(_WRITTEN.findall(self._body)) == len(references))
                _ANY.sub(_character, self._body.decode())
            escaped, counts = np.unique(at[inside], return_counts=True)
            texts = _unescaped(values.take(pa.array(2 * escaped)), counts)
            places[order[escaped]] = len(values) + np.arange(len(escaped))
            values = pa.concat_arrays([values, texts])
        return values, places


def _places_among(known: Numbers, numbers: Numbers) -> Numbers:
    """Return how many of ``known`` are before each number. Both ascend, and have none in common.

    Merging takes half of the time of a binary search for each.
    """
    order = np.argsort(np.concatenate([known, numbers]), kind="stable")
    return np.flatnonzero(order >= len(known)) - np.arange(len(numbers))


def _unescaped(texts: pa.Array, counts: Numbers) -> pa.Array:
    """Return the texts with references replaced. ``counts`` is the number of them in each text."""
    # Names of campaigns and columns are many times on a page.
    encoded = texts.dictionary_encode()
    texts, indices = encoded.dictionary, encoded.indices.to_numpy()
    _expect((pc.count_substring_regex(texts, _REFERENCE).to_numpy()[indices] == counts).all())
    numbered = pc.match_substring(texts, "&#")
    written = [_ANY.sub(_character, text) for text in texts.filter(numbered).to_pylist()]
    for name, character in _ENTITIES.items():
        texts = pc.replace_substring(texts, f"&{name};", character)
    return pc.replace_with_mask(texts, numbered, pa.array(written, pa.string())).take(indices)


def _character(reference: re.Match[str]) -> str:
    if reference[1]:
        return _ENTITIES[reference[1]]
    code = int(reference[2]) if reference[2] else int(reference[3], 16)
    _expect(
        code in (9, 10, 13)
        or 0x20 <= code < 0xD800
        or 0xE000 <= code < 0xFFFE
        or 0x10000 <= code < 0x110000
    )
    return chr(code)
