"""``textlift check``: test both ends of a load."""

from __future__ import annotations

from collections.abc import Sequence

from textlift.cli import command


def main(argv: Sequence[str]) -> int:
    """Test the credentials and the destination, say what account they see, and load nothing."""
    return command.main(["--check", *argv])
