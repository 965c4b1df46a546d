"""Apply a policy to pages, and mark people who were erased. What comes out can be written to disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from textlift.arrow.pages import IDENTITY, Page
from textlift.codec.records import Reject
from textlift.declare import Endpoint
from textlift.dictionary import tables_of
from textlift.privacy.columns import KeyedHash, hashed, masked, truncated
from textlift.privacy.erased import Erased
from textlift.privacy.policy import Action, Policy, Rule, TableRules

#: Stands before the keyed hash of a rejected text.
PROTECTED = "protected:"
#: Digits of an id that is computed from a body.
_ID_DIGITS = 32


def protection(
    endpoint: Endpoint, policy: Policy | None, erased: Erased | None = None
) -> Protection | None:
    """Return the protection of an endpoint; ``None`` if nothing of it is changed."""
    if policy:
        changes = any(policy.rules(table.name).changes for table in tables_of(endpoint))
        lists_change = policy.lists.undeclared.action is not Action.KEEP
        policy = policy if changes or lists_change else None
    return Protection(endpoint, policy, erased) if policy or erased else None


class Protection:
    """Protects the pages of an endpoint.

    Args:
        endpoint: The endpoint.
        policy: The policy of its service; ``None`` if all columns are kept.
        erased: People whose rows are not loaded.
    """

    def __init__(self, endpoint: Endpoint, policy: Policy | None, erased: Erased | None) -> None:
        self._endpoint = endpoint
        self._erased = erased
        self._columns = _ProtectedColumns(endpoint, policy) if policy else None

    def page(self, page: Page) -> Page:
        """Return the page with protected values, and the records of erased people skipped."""
        page = self._erased.page(self._endpoint, page) if self._erased else page
        return self._columns.page(page) if self._columns else page


class _ProtectedColumns:
    """Protects the columns of an endpoint by a policy."""

    def __init__(self, endpoint: Endpoint, policy: Policy) -> None:
        self._endpoint = endpoint
        self._policy = policy
        self._hash = KeyedHash(policy.key)
        #: Columns with a digest of a whole body: who knows the rest of it could try all numbers.
        self._digests: tuple[str, ...] = ()
        if endpoint.webhook:
            body_id = endpoint.webhook.body_id
            self._digests = (*endpoint.key, *([body_id] if body_id else ()))

    def page(self, page: Page) -> Page:
        """Return the page with protected values in tables, lists and rejects."""
        rules = self._rules(None)
        table = self._protected(page.table, rules)
        for name in self._endpoint.identity:
            rule = rules.rule(name)
            # Rows that differ in this value only must still have different keys.
            if rule and rule.action is not Action.HASH:
                values = page.table[name].cast(pa.string())
                table = table.append_column(IDENTITY + name, hashed(values, rule.kind, self._hash))
        for name in self._digests:
            ids = hashed(table[name], None, self._hash).to_pylist()
            short = pa.array([each and each[:_ID_DIGITS] for each in ids], pa.string())
            table = _with_values(table, name, short)
        shared = {name: pa.array([value], pa.string()) for name, value in page.shared.items()}
        return replace(
            page,
            table=table,
            children={
                suffix: self._protected(entries, self._rules(suffix))
                for suffix, entries in page.children.items()
            },
            rejects=[*map(self._reject, page.rejects)],
            shared={
                name: value
                for name, (value,) in self._protected(pa.table(shared), rules).to_pydict().items()
            },
        )

    def _rules(self, suffix: str | None) -> TableRules:
        """Return the rules of a list by its suffix, or of the endpoint's own table."""
        endpoint = self._endpoint
        return self._policy.rules(endpoint.list_table(suffix) if suffix else endpoint.name)

    def _protected(self, table: pa.Table, rules: TableRules) -> pa.Table:
        columns = dict(zip(table.column_names, table.columns))
        alike: dict[tuple[Rule | None, pa.DataType], list[str]] = {}
        for name, values in zip(table.column_names, table.columns):
            rule, is_text = rules.rule(name), pa.types.is_string(values.type)
            # Undeclared columns are text. Others are keys, and numbers of rows.
            if rule and not (name in rules.columns or is_text):
                continue
            if rule and rule.action is Action.DROP and name not in rules.declared:
                del columns[name]
            elif rule or is_text:
                alike.setdefault((rule, values.type), []).append(name)
        # Change all columns of a kind at once: a call costs more than the values of one column.
        for (rule, arrow_type), names in alike.items():
            chunks = [chunk for name in names for chunk in table[name].chunks]
            values = pa.chunked_array(chunks, arrow_type)
            # What is kept is copied: behind its NULLs stands the text of columns that are not.
            changed = self._changed(values, rule) if rule else values.take(np.arange(len(values)))
            for number, name in enumerate(names):
                columns[name] = changed.slice(number * table.num_rows, table.num_rows)
        return pa.table(columns)

    def _changed(self, values: pa.ChunkedArray, rule: Rule) -> pa.Array:
        if rule.action is Action.HASH:
            return hashed(values, rule.kind, self._hash)
        if rule.action is Action.MASK:
            return masked(values, rule.kind)
        if rule.action is Action.TRUNCATE:
            return truncated(values)
        return pa.nulls(len(values), values.type)

    def _reject(self, reject: Reject) -> Reject:
        """Return a reject; its text is protected as a whole if a part of it has to be."""
        if reject.column and self._rules(reject.table).rule(reject.column) is None:
            return reject
        key = reject.row_key
        if key and self._digests:
            key = self._hash(key)[:_ID_DIGITS]
        payload = PROTECTED + self._hash(reject.payload)
        return replace(reject, row_key=key, payload=payload)


def _with_values(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)
