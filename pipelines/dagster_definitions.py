"""Dagster definitions: the assets of all services, loaded each hour."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sources"))

from textlift.dagster import textlift_definitions

defs = textlift_definitions()
