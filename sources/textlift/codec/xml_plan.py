"""Plans: schemas as arrays, for decoding XML column by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from textlift.codec.schema import Field, RecordSchema

Numbers = npt.NDArray[Any]

#: Place of unknown elements, and of skipped elements.
UNKNOWN, IGNORED = 0, 1
#: Slot of values without a column, and of unknown attributes.
NO_SLOT, UNDECIDED = -1, -2


@dataclass
class Table:
    """A table in a page.

    Attributes:
        schema: The schema of the table.
        suffix: Suffix of a child table.
        parent: Number of the parent table. -1 for the table of the records.
        columns: Name → slot.
        padded: Slots of texts with blanks around them.
        row: Place of the rows.
    """

    schema: RecordSchema
    suffix: str = ""
    parent: int = -1
    columns: dict[str, int] = field(default_factory=dict)
    padded: set[int] = field(default_factory=set)
    row: int = 0


class Plan:
    """A schema as arrays: the columns of the elements and attributes at each place.

    A place is the number of a path. A slot is the number of a column of a table.
    ``steps[place, name]`` is the place of a child element. ``attributes[place, name]`` is the slot
    of an attribute.

    Args:
        path: Path of the records in a response: names of elements, joined with ``/``.
        schema: The schema of the records.
        envelope: Name of the root, if it is not the first element of the path.
        new: Field → undeclared fields below it.
    """

    def __init__(
        self,
        path: str,
        schema: RecordSchema,
        envelope: str | None = None,
        new: Mapping[Field, Mapping[str, Field]] = MappingProxyType({}),
    ) -> None:
        self._path = path
        self._schema = schema
        self._new = new
        self.envelope = (envelope or "").encode()
        self.fields: list[Field | None] = []
        self.names: dict[bytes, int] = {}
        self.tables: list[Table] = []
        self.slot_tables: list[int] = []
        self._steps: list[dict[str, int]] = []
        self._attributes: list[dict[str, int]] = []
        self._others: list[tuple[int, int]] = []
        self._facts: list[dict[str, Any]] = []
        for _ in (UNKNOWN, IGNORED):
            self._place(others=(IGNORED, NO_SLOT))
        *containers, record = path.split("/")
        #: Places of the root and of the elements between the root and the records.
        self.outer = [self._place(others=(UNKNOWN, NO_SLOT)) for _ in range(len(containers) + 1)]
        for place, name in zip(self.outer, containers):
            self._steps[place][name] = place + 1
        self._steps[self.outer[-1]][record] = self._add_table(Table(schema))
        self.root_name = containers[0].encode()
        self.record = record.encode()
        self._finish()

    def extended(self, new: Mapping[Field, Mapping[str, Field]]) -> Plan:
        """Return this plan with additional, undeclared fields."""
        return Plan(self._path, self._schema, self.envelope.decode(), new)

    def _place(
        self,
        others: tuple[int, int] = (UNKNOWN, UNDECIDED),
        field: Field | None = None,
        **facts: Any,
    ) -> int:
        self.fields.append(field)
        self._steps.append({})
        self._attributes.append({})
        self._others.append(others)
        self._facts.append(facts)
        return len(self._facts) - 1

    def _add_table(self, table: Table) -> int:
        self.tables.append(table)
        number = len(self.tables) - 1
        text = table.schema.text
        slot = self._slot(number, text) if text else NO_SLOT
        if text and table.schema.padded:
            table.padded.add(slot)
        is_entry = table.parent >= 0
        root = table.schema.root
        table.row = self._place(
            field=root, table=number, slot=slot, is_entry=is_entry, is_bare=text is None
        )
        self._add_below(table.row, root, number)
        return table.row

    def _slot(self, table: int, column: str) -> int:
        columns = self.tables[table].columns
        if column not in columns:
            columns[column] = len(self.slot_tables)
            self.slot_tables.append(table)
        return columns[column]

    def _add_below(self, place: int, field: Field, table: int) -> None:
        if field.skip_below:
            self._others[place] = (IGNORED, NO_SLOT)
        for name, below in self._below(field):
            slot = NO_SLOT if below.skip else self._slot(table, below.column)
            self._attributes[place][name] = slot
            if below.list is not None:
                self._steps[place][name] = self._add_list(below, table)
            elif below.skip_below and not below.fields and below.skip:
                self._steps[place][name] = IGNORED
            else:
                self._steps[place][name] = inner = self._place(
                    field=below,
                    table=table,
                    slot=slot,
                    is_new=not below.declared,
                    holds=bool(below.fields),
                )
                self._add_below(inner, below, table)

    def _below(self, field: Field) -> Iterator[tuple[str, Field]]:
        yield from field.fields.items()
        yield from self._new.get(field, {}).items()

    def _add_list(self, field: Field, table: int) -> int:
        assert field.list is not None
        schema = self.tables[table].schema
        suffix = field.suffix
        place = self._place(field=field, table=table, is_list=True)
        for name, below in self._below(field):
            self._attributes[place][name] = self._slot(table, below.column)
        child = Table(schema.lists[suffix], suffix, table)
        self._steps[place][field.list.item] = self._add_table(child)
        return place

    def _finish(self) -> None:
        for named in (*self._steps, *self._attributes):
            for name in named:
                self.names.setdefault(name.encode(), len(self.names))
        #: The number that all unknown names share.
        self.other = len(self.names)
        shape = (len(self._facts), self.other + 1)
        self.steps = np.empty(shape, np.int16)
        self.attributes = np.empty(shape, np.int32)
        for place, (step, slot) in enumerate(self._others):
            self.steps[place], self.attributes[place] = step, slot
            for name, step in self._steps[place].items():
                self.steps[place, self.names[name.encode()]] = step
            for name, slot in self._attributes[place].items():
                self.attributes[place, self.names[name.encode()]] = slot
        self.slots = self._fact("slot", NO_SLOT, np.int32)
        self.table_of = self._fact("table", 0, np.int16)
        self.is_list = self._fact("is_list", False, np.bool_)
        self.is_new = self._fact("is_new", False, np.bool_)
        self.is_entry = self._fact("is_entry", False, np.bool_)
        self.is_bare = self._fact("is_bare", False, np.bool_)
        self.holds = self._fact("holds", False, np.bool_)

    def _fact(self, name: str, default: Any, dtype: Any) -> Numbers:
        return np.array([facts.get(name, default) for facts in self._facts], dtype)
