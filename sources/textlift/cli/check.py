"""``textlift check``: test the credentials and the destination."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from textlift.cli import command


def main(argv: Sequence[str]) -> int:
    """Run ``textlift load --check`` and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="textlift check",
        description="Test the credentials and the destination, and describe the account. "
        "Nothing is loaded.",
    )
    command.add_target(parser)
    parser.parse_args(argv)
    return command.main([*argv, "--check"])
