"""The text of the documentation, and the code in it."""

from __future__ import annotations

import re

from tests.conftest import PROJECT


def page(name: str) -> str:
    return (PROJECT / name).read_text()


def fences(text: str, language: str) -> list[str]:
    """The contents of the fences in a language."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [body for _, name, body in found if name == language]
