"""``textlift move OLD NEW``: move a DuckDB file of an earlier version into the shared file.

Earlier versions used one file for each service. The cursors move with the data, so the next run
continues from them. The move is atomic: either the new file holds everything and the old file is
removed, or nothing changes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

_DATASETS = "SELECT schema_name FROM duckdb_schemas() WHERE database_name = ? AND NOT internal"


def main(argv: Sequence[str]) -> int:
    """Move the file named on the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="textlift move",
        description="Move a DuckDB file of an earlier version into that of all services.",
    )
    parser.add_argument("old", type=Path, help="for example mcommons.duckdb")
    parser.add_argument("new", type=Path, help="for example textlift.duckdb")
    options = parser.parse_args(argv)
    os.umask(0o077)
    try:
        moved = move(options.old, options.new)
    except (OSError, ValueError, duckdb.Error) as error:
        print(f"Nothing was moved. {error}", file=sys.stderr)
        return 1
    print(f"{', '.join(moved)}: moved into {options.new}")
    return 0


def move(old: Path, new: Path) -> list[str]:
    """Move all datasets of a file into another file, which may hold other datasets.

    Returns:
        The names of the moved datasets.

    Raises:
        OSError: The old file does not exist.
        ValueError: The new file has a dataset of the same name.
        duckdb.Error: One of the files cannot be read or written, or is in use.
    """
    if not old.is_file():
        raise FileNotFoundError(f"There is no file {old}.")
    with duckdb.connect() as connection:
        for name, file in (("old", old), ("new", new)):
            path = str(file).replace("'", "''")
            connection.execute(f"ATTACH '{path}' AS {name}")
        datasets, there = (
            {name for (name,) in connection.execute(_DATASETS, [file]).fetchall()} - {"main"}
            for file in ("old", "new")
        )
        if datasets & there:
            raise ValueError(f"{new} already holds {', '.join(sorted(datasets & there))}.")
        connection.execute("BEGIN")
        connection.execute("COPY FROM DATABASE old TO new")
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT new")
        connection.execute("DETACH old")
    old.unlink()
    return sorted(datasets)
