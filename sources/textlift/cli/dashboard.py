"""``textlift dashboard``: show a warehouse in a browser."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGTERM, signal
from tempfile import TemporaryDirectory
from typing import Any

from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from textlift.cli import command
from textlift.cli.listening import add_address, listen
from textlift.dashboard import EXTRA, MODELS
from textlift.errors import ConfigurationError

PORT = 8086
_FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")


def main(argv: Sequence[str]) -> int:
    """Show a warehouse until the process is stopped, and return the exit code."""
    options = _parse(argv)
    # Until the server stops by itself, so that the folder does not stay.
    signal(SIGTERM, lambda *_: sys.exit(command.LOADED))
    # marimo makes files of settings and a log where it finds none, when it is imported.
    with TemporaryDirectory(prefix="textlift-dashboard-") as folder:
        os.environ.update(dict.fromkeys(_FOLDERS, folder))
        return command.run_private(lambda: _run(options))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="textlift dashboard",
        description="Show runs, audience, messages and broadcasts in a browser. It only reads, and a "
        "load can run at the same time.",
        epilog="exit codes: 0 stopped by a signal; 1 failed; 2 usage or configuration",
    )
    parser.add_argument(
        "--destination",
        choices=("duckdb", "postgres"),
        default="duckdb",
        help="dlt destination (default: duckdb)",
    )
    parser.add_argument("--sandbox", action="store_true", help=f"show {command.SANDBOX_FILE}")
    add_address(parser, PORT)
    options = parser.parse_args(argv)
    if options.sandbox and options.destination != "duckdb":
        parser.error("--sandbox shows a DuckDB file of its own; leave --destination out")
    return options


def _run(options: argparse.Namespace) -> int:
    try:
        from textlift.dashboard.server import serve
    except ImportError as error:
        raise ConfigurationError(
            f"The dashboard needs a package that is not installed: {error.name}\n"
            f"Install the extra: {EXTRA}."
        ) from None
    target = argparse.Namespace(
        destination=options.destination, dataset=MODELS, sandbox=options.sandbox
    )
    pipeline = command.open_pipeline("dashboard", target)
    client: Any = pipeline.destination_client()
    credentials = client.config.credentials
    if isinstance(credentials, DuckDbCredentials) and not Path(str(credentials.database)).is_file():
        raise ConfigurationError(
            f"{credentials.database} does not exist.\nLoad a service first: textlift load --help"
        )
    listening, url = listen(options.host, options.port)
    token = secrets.token_urlsafe(24)
    print(f"The dashboard is at {url}/?access_token={token}")
    print(
        "Whoever has this address can read it, until it is stopped. Stop it with Ctrl-C.",
        flush=True,
    )
    serve(client.sql_client, listening, token)
    return command.LOADED
