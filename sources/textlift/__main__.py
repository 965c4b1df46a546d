"""``python -m textlift`` runs the command ``textlift``."""

from textlift.cli import run

run()
