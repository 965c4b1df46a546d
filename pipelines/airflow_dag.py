"""What Airflow reads: a DAG that loads all services each hour, and one for years at once."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sources"))

from textlift.airflow import textlift_dag

textlift = textlift_dag()
#: ``airflow backfill create --dag-id textlift_history …``, a month in each run.
textlift_history = textlift_dag("textlift_history", schedule="@monthly", exact=True)
