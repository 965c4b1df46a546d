"""Run the command ``textlift``, for ``python -m textlift``."""

from textlift.cli import run

run()
