"""The policy: what happens to which personal column, from ``sources.<service>.privacy``.

A rule names a kind of personal data, a table, or a column as ``table.column``. The most specific
one decides: a column, then its table, then ``undeclared`` for columns that are not declared, then
the kind.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from textlift.declare import Column, ColumnType, Endpoint, Personal
from textlift.dictionary import Table, tables_of
from textlift.errors import ConfigurationError

#: Name of the rule for columns that are not declared.
UNDECLARED = "undeclared"
#: Fewest characters of the key.
KEY_LENGTH = 32


class Action(Enum):
    """What happens to a value before it is written anywhere."""

    KEEP = "keep"
    HASH = "hash"
    MASK = "mask"
    TRUNCATE = "truncate"
    DROP = "drop"


KINDS = {kind.name.lower(): kind for kind in Personal}
#: The kinds of values that only some actions fit.
_FITS = {
    Action.MASK: (Personal.PHONE, Personal.EMAIL),
    Action.TRUNCATE: (Personal.LOCATION, Personal.NETWORK_ADDRESS),
}


@dataclass(frozen=True)
class Rule:
    """What happens to a column.

    Attributes:
        action: What happens to its values.
        kind: What they are; ``None`` if they are not declared as personal.
    """

    action: Action
    kind: Personal | None


@dataclass(frozen=True)
class TableRules:
    """What happens to the columns of a table.

    Attributes:
        columns: Column → rule, of the columns that are changed.
        declared: The declared columns.
        undeclared: What happens to all others.
    """

    columns: Mapping[str, Rule]
    declared: frozenset[str]
    undeclared: Rule

    def rule(self, column: str) -> Rule | None:
        """Return the rule of a column; ``None`` if it is kept."""
        rule = self.columns.get(column)
        if rule is None and column not in self.declared:
            rule = self.undeclared
        return rule if rule and rule.action is not Action.KEEP else None

    @property
    def changes(self) -> bool:
        """Whether a column is changed."""
        return bool(self.columns) or self.undeclared.action is not Action.KEEP


@dataclass(frozen=True)
class Policy:
    """The policy of a service that changes at least one column.

    Attributes:
        tables: Table → its rules.
        lists: The rules of lists that are not declared.
        key: The secret key.
    """

    tables: Mapping[str, TableRules]
    lists: TableRules
    key: bytes = field(repr=False)

    def rules(self, table: str) -> TableRules:
        """Return the rules of a table."""
        return self.tables.get(table, self.lists)


def read_policy(
    endpoints: Iterable[Endpoint], rules: Mapping[str, Any] | None, key: str | None
) -> Policy | None:
    """Return the policy that the configuration describes; ``None`` if everything is kept.

    Args:
        endpoints: All endpoints of the service.
        rules: The setting ``privacy``: kind, table, column or ``undeclared`` → action.
        key: The setting ``sources.privacy_key``.

    Raises:
        ConfigurationError: A rule names nothing, or asks for what cannot be done; or the key is
            missing or short.
    """
    if not rules:
        return None
    actions = {name: _action(name, value) for name, value in rules.items()}
    endpoints = list(endpoints)
    tables = {table.name: (each, table) for each in endpoints for table in tables_of(each)}
    _check_names(actions, [table for _, table in tables.values()])
    needed = needed_columns(endpoints)
    found = {
        name: _table_rules(table, actions, fixed_columns(endpoint, table, needed))
        for name, (endpoint, table) in tables.items()
    }
    undeclared = Rule(_undeclared(actions), Personal.FREE_TEXT)
    # The keys of a list are also in the lists inside of it.
    keys = {
        column: rule
        for name, (_, table) in tables.items()
        for column, rule in found[name].columns.items()
        if column in table.key
    }
    policy = Policy(found, TableRules(keys, frozenset(), undeclared), (key or "").encode())
    if not any(each.changes for each in (*found.values(), policy.lists)):
        return None
    require_key(key, "privacy needs it for what it hashes, for keys and for rejected_records")
    return policy


def require_key(key: str | None, why: str) -> None:
    """Raise ConfigurationError if ``sources.privacy_key`` is missing or short."""
    if len(key or "") < KEY_LENGTH:
        raise ConfigurationError(
            f"sources.privacy_key is {'too short' if key else 'missing'}: {why}.\n"
            f"Set at least {KEY_LENGTH} random characters as privacy_key under [sources] in "
            ".dlt/secrets.toml, or as SOURCES__PRIVACY_KEY in the environment. Keep it: with "
            "another key, the same person has other hashes."
        )


def _action(name: str, value: Any) -> Action:
    try:
        return Action(value)
    except ValueError:
        raise ConfigurationError(
            f"privacy.{name} is {value!r}.\nIt is {_choice(each.value for each in Action)}."
        ) from None


def _check_names(actions: Mapping[str, Action], tables: Sequence[Table]) -> None:
    """Check that each rule names something, and that its action fits what it names.

    Raises:
        ConfigurationError: One does not.
    """
    columns = {f"{table.name}.{name}" for table in tables for name in table.columns}
    names = {table.name for table in tables}
    for name, action in actions.items():
        if name not in {*KINDS, UNDECLARED, *names, *columns}:
            is_column = name.partition(".")[0] in names and "." in name
            near = difflib.get_close_matches(name, [*KINDS, UNDECLARED, *names, *columns], 1)
            meant = f"Do you mean {near[0]}? " if near else ""
            raise ConfigurationError(
                f"privacy.{name} names no {'column' if is_column else 'kind, table or column'} of "
                f"the service.\n{meant}A rule names a kind ({', '.join(KINDS)}), "
                f"{UNDECLARED} for all columns that are not declared, a table, or table.column; "
                "`textlift tables --personal` lists them."
            )
        fits = _FITS.get(action)
        if fits and name not in columns and KINDS.get(name) not in fits:
            raise _misfit(name, action)


def _misfit(name: str, action: Action) -> ConfigurationError:
    kinds = [name for name, kind in KINDS.items() if kind in _FITS[action]]
    return ConfigurationError(
        f"privacy.{name} is {action.value}, and only columns of the kinds {' and '.join(kinds)} "
        "have a part that can stay.\nUse keep, hash or drop, or name single columns."
    )


def _table_rules(
    table: Table, actions: Mapping[str, Action], fixed: Mapping[str, str]
) -> TableRules:
    """Return the rules of a declared table.

    Args:
        table: The table.
        actions: The configured rules.
        fixed: Column that cannot be changed → why.

    Raises:
        ConfigurationError: A column cannot be changed as a rule asks for.
    """
    rules = {}
    for name, column in table.columns.items():
        place = f"{table.name}.{name}"
        action = actions.get(place)
        if name in fixed:
            if action not in (None, Action.KEEP):
                raise ConfigurationError(
                    f"privacy.{place} cannot be changed: it is {fixed[name]}.\nLeave it out."
                )
            continue
        if action is None and column.personal:
            kind = column.personal.name.lower()
            action = actions.get(table.name, actions.get(kind))
        if action in (None, Action.KEEP):
            continue
        assert action
        _check_fits(place, column, action)
        rules[name] = Rule(action, column.personal)
    undeclared = actions.get(table.name, _undeclared(actions))
    return TableRules(rules, frozenset(table.columns), Rule(undeclared, Personal.FREE_TEXT))


def _undeclared(actions: Mapping[str, Action]) -> Action:
    kind = actions.get(Personal.FREE_TEXT.name.lower(), Action.KEEP)
    return actions.get(UNDECLARED, kind)


def _check_fits(place: str, column: Column, action: Action) -> None:
    if action in _FITS and column.personal not in _FITS[action]:
        raise _misfit(place, action)
    if action is Action.HASH and column.type is not ColumnType.TEXT:
        is_coordinate = column.personal is Personal.LOCATION
        others = [Action.TRUNCATE] * is_coordinate + [Action.DROP, Action.KEEP]
        raise ConfigurationError(
            f"{place} cannot be hashed: its type is {column.type.value}, and a hash is text.\n"
            f'Add a rule for it to privacy: "{place}" = '
            + _choice(f'"{each.value}"' for each in others)
            + "."
        )


def needed_columns(endpoints: Iterable[Endpoint]) -> set[tuple[str, str]]:
    """Return the table and column of what requests for other endpoints depend on."""
    return {
        (parent.endpoint, column)
        for endpoint in endpoints
        if (parent := endpoint.parent)
        for column in (parent.key, *(parent.where or ())[:1])
    }


def fixed_columns(endpoint: Endpoint, table: Table, needed: set[tuple[str, str]]) -> dict[str, str]:
    """Return column → why it cannot be changed, for the columns that find a row again."""
    fixed = {name: "not the service's" for name in table.columns if name.startswith("_")}
    owners = {owner.column for owner in endpoint.owners.values()}
    if table.name != endpoint.name:
        keys = owners | set(endpoint.foreign_keys.values())
        return {**fixed, **dict.fromkeys(keys & set(table.columns), "a part of the key")}
    fixed.update((name, "needed to find other rows") for at, name in needed if at == table.name)
    fixed.update(dict.fromkeys(endpoint.configured, "a setting of yours"))
    if endpoint.parent:
        fixed[endpoint.parent.column] = "a part of the key"
    fixed.update(dict.fromkeys((*endpoint.key, *owners), "a part of the key"))
    if endpoint.incremental:
        fixed[endpoint.incremental.cursor] = "the cursor"
    if endpoint.removed_column:
        fixed[endpoint.removed_column] = "not the service's"
    return fixed


def _choice(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
