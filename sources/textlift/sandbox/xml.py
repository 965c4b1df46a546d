"""Prints rows as XML.

A row is a dict. An `Element` declares which of its keys are attributes and which hold nested
elements or lists. Every other key becomes a child element of the same name, so a key that nobody
declared is printed as an element that nobody declared. A key that begins with `@` becomes an
attribute.

An element with children takes several lines, as the services print it. `MARK` stands where a line
is indented, because an element is printed before its depth is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from textlift.sandbox.tables import Row

Writer = Callable[[Any], str]
"""Prints the value of one key, with its tags."""

MARK = "\0"
"""Stands for the indentation of the element that is printed. XML cannot contain it."""
NO_TIME = "0000-00-00 00:00:00"

# A parser reads a bare carriage return as a line feed, and in an attribute both as a blank.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_QUOTES = {**_ESCAPES, **str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})}


def text(value: Any) -> str:
    """A scalar as character data; a time as `2019-06-21 14:49:40 UTC`, None as no text."""
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    return _scalar(value, "%04d-%02d-%02d %02d:%02d:%02d UTC")


def attributes(values: Mapping[str, Any]) -> str:
    """Everything in a start tag after the name; a time as `2019-06-21T14:49:40Z`."""
    return "".join(
        f' {name}="{value.translate(_QUOTES)}"'
        if isinstance(value, str)
        else f' {name}="{_scalar(value, "%04d-%02d-%02dT%02d:%02d:%02dZ")}"'
        for name, value in values.items()
    )


def _scalar(value: Any, time: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):  # twice as fast as strftime
        return time % (
            *(value.year, value.month, value.day),
            *(value.hour, value.minute, value.second),
        )
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(f"a row cannot hold a {type(value).__name__} here")


def leaf(name: str) -> Writer:
    """An element that contains a scalar; `<name/>` if the text is empty."""

    def write(value: Any) -> str:
        content = text(value)
        return f"<{name}>{content}</{name}>" if content else f"<{name}/>"

    return write


def reference(name: str) -> Writer:
    """An element that contains only an id: `<name id="1"/>`."""
    return lambda value: f"<{name}{attributes({'id': value})}/>"


def hidden(value: Any) -> str:
    """Nothing, for a key that is not printed."""
    return ""


def optional(write: Writer) -> Writer:
    """Nothing if the value is None or an empty list."""
    return lambda value: "" if value is None or value == [] else write(value)


def content(before: str, after: str, blank: str) -> Writer:
    """The text of the element itself, between two strings; `blank` if the value is empty."""
    return lambda value: f"{before}{text(value)}{after}" if value else blank


def items(name: str, item: Writer) -> Writer:
    """A container with one element for each item of a list; a leaf for any other value."""
    plain = leaf(name)

    def write(values: Any) -> str:
        if not isinstance(values, list):
            return plain(values)
        return f"<{name}>\n{''.join(map(_line, map(item, values)))}{MARK}</{name}>"

    return write


def _line(element: str) -> str:
    """An element as one or more lines of the element around it."""
    return f"{MARK}  {element.replace(MARK, f'{MARK}  ')}\n"


def _undeclared(name: str) -> Writer:
    """A leaf, a nested element or a container, depending on the value."""
    singular = name[:-1] if name.endswith("s") else "item"

    def write(value: Any) -> str:
        if isinstance(value, dict):
            return Element(name)(value)
        if isinstance(value, list):
            return items(name, _undeclared(singular))(value)
        return leaf(name)(value)

    return write


class Element:
    """Prints a row; prints any other value as a leaf."""

    def __init__(
        self,
        name: str,
        attributes: str = "",
        *,
        children: Mapping[str, Writer] | None = None,
        content: Mapping[str, Writer] | None = None,
        zero_times: Iterable[str] = (),
        closes: bool = False,
    ) -> None:
        """Declare an element.

        attributes: keys that are attributes, separated by blanks.
        children: writers of the keys that are not simple leaves.
        content: writers of the keys that are text of the element itself.
        zero_times: times that are printed as `NO_TIME` where they are None, in one row of four.
        closes: print an end tag on its own line even if the element is empty.
        """
        self.name = name
        self._attributes = frozenset(attributes.split())
        self._children = dict(children or {})
        self._content = dict(content or {})
        self._zero_times = tuple(zero_times)
        self._closes = closes
        self._leaf = leaf(name)

    def __call__(self, row: Any) -> str:
        """The element, with `MARK` at the start of each line after the first."""
        if not isinstance(row, dict):
            return self._leaf(row)
        head: Row = {}
        inside, lines = "", []
        for key, value in row.items():
            if key in self._attributes or key[0] == "@":
                head[key.removeprefix("@")] = value
            elif key in self._content:
                inside += self._content[key](value)
            else:
                if value is None and key in self._zero_times and row["id"] % 4 == 0:
                    value = NO_TIME
                write = self._children.get(key)
                if write is None:
                    write = self._children[key] = _undeclared(key)
                line = write(value)
                if line:
                    lines.append(_line(line))
        start = f"<{self.name}{attributes(head)}"
        if lines or (self._closes and not inside):
            return f"{start}>{inside}\n{''.join(lines)}{MARK}</{self.name}>"
        return f"{start}>{inside}</{self.name}>" if inside else f"{start}/>"


def listing(name: str, write: Writer, rows: Iterable[Row], head: Mapping[str, Any]) -> list[str]:
    """The lines of a list. A row starts where its line starts; only its parts are indented."""
    return wrapped(name, [write(row).replace(MARK, "") for row in rows], head)


def wrapped(name: str, lines: Iterable[str], head: Mapping[str, Any] | None = None) -> list[str]:
    """The lines of an element around lines."""
    return [f"<{name}{attributes(head or {})}>", *lines, f"</{name}>"]
