"""Rows to XML.

A row is a dict. An `Element` says which of its keys are attributes, which hold nested elements or
lists, and which are not printed; every other key becomes a child element of the same name, so a
row with a key nobody foresaw is printed with an element nobody foresaw. A key that begins with
`@` becomes an attribute.

Every element that holds others has lines of its own, as the service prints them. `MARK` stands
where a line is indented, so that an element can be printed before it is known how deep it lies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

Row = dict[str, Any]
Writer = Callable[[Any], str]

MARK = "\0"
"""Stands for the indentation of the element that is printed. No XML can hold it itself."""

NO_TIME = "0000-00-00 00:00:00"
"""How the service prints a time that never was, when it does not leave the element empty."""


class Printer(dict[type, Writer]):
    """Prints the value of one key, name and tags included: a writer for each type it can have."""

    def __missing__(self, kind: type) -> Writer:
        for base in kind.__mro__[1:]:
            if base in self:
                return self.setdefault(kind, self[base])
        raise TypeError(f"a row cannot hold a {kind.__name__} here")


# A parser takes a bare carriage return for a line feed, and in an attribute either for a blank.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_QUOTES = {**_ESCAPES, **str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})}
_needs_quotes = re.compile(r'[&<>"\r\n\t]').search


def _escape(text: str) -> str:
    if "&" in text or "<" in text or ">" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text


def _time(time: datetime, pattern: str) -> str:
    # Twice as fast as isoformat.
    return pattern % (time.year, time.month, time.day, time.hour, time.minute, time.second)


_TIME = "%04d-%02d-%02d %02d:%02d:%02d UTC"
_ATTRIBUTE_TIME = "%04d-%02d-%02dT%02d:%02d:%02dZ"


def text(value: Any) -> str:
    """A scalar as character data: times as `2019-06-21 14:49:40 UTC`, nothing as ''."""
    return _TEXT[type(value)](value)


_TEXT = Printer(
    {
        str: _escape,
        int: str,
        float: repr,
        bool: lambda value: "true" if value else "false",
        datetime: lambda value: _time(value, _TIME),
        type(None): lambda value: "",
    }
)


def leaf(name: str) -> Printer:
    """An element that holds a scalar; `<name/>` if there is nothing to hold."""
    start, end, empty = f"<{name}>", f"</{name}>", f"<{name}/>"
    time = f"{start}{_TIME}{end}"
    return Printer(
        {
            str: lambda value: f"{start}{_escape(value)}{end}" if value else empty,
            int: lambda value: f"{start}{value}{end}",
            float: lambda value: f"{start}{value!r}{end}",
            bool: lambda value: f"{start}true{end}" if value else f"{start}false{end}",
            datetime: lambda value: _time(value, time),
            type(None): lambda value: empty,
        }
    )


def attribute(name: str) -> Printer:
    """An attribute, with the blank before it; times as `2019-06-21T14:49:40Z`."""

    def quote(value: str) -> str:
        return f' {name}="{value.translate(_QUOTES) if _needs_quotes(value) else value}"'

    time = f' {name}="{_ATTRIBUTE_TIME}"'
    return Printer(
        {
            str: quote,
            int: lambda value: f' {name}="{value}"',
            float: lambda value: f' {name}="{value!r}"',
            bool: lambda value: f' {name}="true"' if value else f' {name}="false"',
            datetime: lambda value: _time(value, time),
            type(None): lambda value: f' {name}=""',
        }
    )


def attributes(values: Mapping[str, Any]) -> str:
    """All of a start tag that follows the name."""
    return "".join([attribute(name)[type(value)](value) for name, value in values.items()])


def reference(name: str) -> Printer:
    """An element that holds nothing but an id: `<name id="1"/>`."""
    id = attribute("id")
    return always(lambda value: f"<{name}{id[type(value)](value)}/>")


def items(name: str, item: Printer) -> Printer:
    """A container with one element for each item of a list. Anything but a list is a leaf."""
    start, end = f"<{name}>\n", f"{MARK}</{name}>"

    def write(values: Iterable[Any]) -> str:
        return f"{start}{''.join([_line(item[type(value)](value)) for value in values])}{end}"

    return Printer({**leaf(name), list: write})


def nested(element: Element) -> Printer:
    """An element within another. Anything but a row is a leaf."""
    return Printer({**leaf(element.name), dict: element})


def always(write: Writer) -> Printer:
    """The same writer whatever the type."""
    return Printer({object: write})


def hidden() -> Printer:
    """Nothing at all."""
    return always(lambda value: "")


def optional(printer: Printer) -> Printer:
    """Nothing at all, when there is no value, or none in the list."""
    some: Printer = Printer({**printer, type(None): lambda value: ""})
    if list in printer:
        some[list] = lambda values: printer[list](values) if values else ""
    return some


def content(before: str, after: str, blank: str) -> Printer:
    """The text of the element itself, between two texts; `blank` if there is none."""
    return always(lambda value: f"{before}{text(value)}{after}" if value else blank)


def _line(element: str) -> str:
    """An element as a line of the one around it, or as several."""
    if MARK in element:
        element = element.replace(MARK, f"{MARK}  ")
    return f"{MARK}  {element}\n"


def unforeseen(name: str) -> Printer:
    """Whatever the value turns out to be: a leaf, a nested element or a container."""
    singular = name[:-1] if name.endswith("s") else "item"
    return Printer(
        {
            **leaf(name),
            dict: Element(name),
            # Not before it is needed: the items can be lists as well, and theirs, and so on.
            list: lambda values: items(name, unforeseen(singular))[list](values),
        }
    )


class Element:
    """How to print a row."""

    def __init__(
        self,
        name: str,
        *,
        attributes: Iterable[str] = (),
        children: Mapping[str, Printer] | None = None,
        content: Mapping[str, Printer] | None = None,
        zero_times: Iterable[str] = (),
        closes: bool = False,
    ) -> None:
        """Declare an element.

        attributes: keys printed as attributes.
        children: keys whose values are not simple leaves, and how to print them.
        content: keys whose values are text of the element itself, and how to print it.
        closes: whether it has an end tag, on a line of its own, also when it holds nothing.
        zero_times: times printed as `NO_TIME` when there are none, in one row of four.
        """
        self.name = name
        self._attributes = {key: attribute(key) for key in attributes}
        self._children = dict(children or {})
        self._content = dict(content or {})
        self._zero_times = tuple(zero_times)
        self._closes = closes
        self._layouts: dict[tuple[str, ...], list[list[tuple[str, Printer]]]] = {}

    def __call__(self, row: Row) -> str:
        """Print a row."""
        if self._zero_times and row["id"] % 4 == 0:
            row = {**row, **{key: NO_TIME for key in self._zero_times if row.get(key, 0) is None}}
        keys = tuple(row)
        layout = self._layouts.get(keys)
        if layout is None:
            layout = self._layouts[keys] = self._layout(keys)
        head, text, lines = (
            [printer[type(row[key])](row[key]) for key, printer in part] for part in layout
        )
        start, inside = f"<{self.name}{''.join(head)}", "".join(text)
        children = "".join([_line(line) for line in lines if line])
        if children or (self._closes and not inside):
            return f"{start}>{inside}\n{children}{MARK}</{self.name}>"
        return f"{start}>{inside}</{self.name}>" if inside else f"{start}/>"

    def _layout(self, keys: tuple[str, ...]) -> list[list[tuple[str, Printer]]]:
        """The keys that are attributes, text and elements, each with what prints its value."""
        head: list[tuple[str, Printer]] = []
        text: list[tuple[str, Printer]] = []
        lines: list[tuple[str, Printer]] = []
        for key in keys:
            if key in self._attributes or key.startswith("@"):
                printer = self._attributes.get(key) or attribute(key.removeprefix("@"))
                head.append((key, printer))
            elif key in self._content:
                text.append((key, self._content[key]))
            else:
                lines.append((key, self._children.get(key) or unforeseen(key)))
        return [head, text, lines]
