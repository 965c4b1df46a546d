"""Airflow DAGs: one loads all services each hour, and one loads months of history."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sources"))

from textlift.airflow import textlift_dag

textlift = textlift_dag()
#: For ``airflow backfill create --dag-id textlift_history …``. Each run loads a month.
textlift_history = textlift_dag("textlift_history", schedule="@monthly", exact=True)
