"""What a page shows, as a reader of it sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page


@dataclass(frozen=True)
class Figure:
    """A figure: its numbers with their captions, its table, the marks of its chart, and its SQL."""

    numbers: dict[str, tuple[str, str]]
    table: list[dict[str, str]]
    marks: list[dict[str, str]]
    sql: str
    text: str
    has_chart: bool


_MARKS = "svg [role='graphics-symbol'][aria-roledescription]"


def read_figures(page: Page) -> dict[str, Figure]:
    """Return the figures of a page by their titles."""
    sections = page.locator(".textlift-figure")
    found = {}
    for place in range(sections.count()):
        section = sections.nth(place)
        if section.locator("marimo-mime-renderer").count():
            # The axes are there when the marks are.
            section.locator("svg [role='graphics-symbol']").first.wait_for(state="attached")
        if section.locator("marimo-table").count():
            section.locator("tbody tr").first.wait_for()
        found[section.locator(".textlift-h3").inner_text()] = _figure(section)
    return found


def _figure(section: Locator) -> Figure:
    numbers = {}
    for one in section.locator(".textlift-number").all():
        label, value, caption = (one.locator(tag).inner_text() for tag in ("span", "b", "small"))
        numbers[label] = (value, caption)
    labels = section.locator(_MARKS).evaluate_all(
        "marks => marks.map(mark => mark.getAttribute('aria-label'))"
    )
    marks = []
    for label in labels:
        parts = [part.split(": ", 1) for part in label.replace("−", "-").split("; ")]
        # Axes and legends have labels of another form.
        if all(len(part) == 2 for part in parts) and "scale" not in parts[0][0]:
            marks.append(dict(parts))
    size = section.locator("marimo-table").get_by_text(re.compile(r"^[\d,]+ rows"))
    return Figure(
        numbers,
        read_table(section),
        marks,
        section.locator(".textlift-sql code").text_content() or "",
        section.inner_text() + (size.first.inner_text() if size.count() else ""),
        section.locator("svg").count() > 0,
    )


def read_table(section: Locator) -> list[dict[str, str]]:
    """Return the rows that a table shows, by the titles of their columns."""
    heads = [head.strip() for head in section.locator("th").all_inner_texts()]
    lines = section.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText.trim()))"
    )
    return [dict(zip(heads, line)) for line in lines]
