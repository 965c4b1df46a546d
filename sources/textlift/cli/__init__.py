"""The command ``textlift``. ``python -m textlift`` and ``pipelines/*.py`` also run it."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from threading import Thread
from types import ModuleType
from typing import NoReturn

#: Command → the module whose ``main`` runs it, and a description.
_COMMANDS = {
    "demo": ("textlift.cli.demo", "load invented data of every service into a local DuckDB file"),
    "load": ("textlift.cli.command", "load what is new at a service into a warehouse"),
    "check": ("textlift.cli.check", "test the credentials and the destination; load nothing"),
    "models": ("textlift.cli.models", "build models for analysts from the loaded tables, with dbt"),
    "dashboard": (
        "textlift.cli.dashboard",
        "show runs, audience, messages and broadcasts in a browser",
    ),
    "webhooks": ("textlift.cli.webhooks", "receive what a service posts, until it is loaded"),
    "state": ("textlift.cli.state", "list the cursors and the recent runs; reset a cursor"),
    "forget": ("textlift.cli.forget", "delete all rows about a person, and skip them from then on"),
    "sandbox": ("textlift.sandbox.command", "serve an invented account over HTTP"),
    "move": ("textlift.cli.move", "move a DuckDB file of an earlier version into textlift.duckdb"),
    "tables": ("textlift.cli.tables", "print the tables and columns of a service"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="textlift",
        description="Load SMS platforms into a warehouse.",
        epilog="\n".join(
            ["commands:", *(f"  {name:<10} {what}" for name, (_, what) in _COMMANDS.items())]
        )
        + "\n\ntextlift COMMAND --help lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=_COMMANDS, metavar="COMMAND", help="see below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    arguments = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(arguments or ["--help"])
    asks_for_help = {"-h", "--help"} & set(options.arguments)
    if options.command == "load" and not asks_for_help and sys.stderr and sys.stderr.isatty():
        # The imports that follow take seconds.
        print("Starting", file=sys.stderr, flush=True)
    name, _ = _COMMANDS[options.command]
    try:
        code: int = imported(name).main(options.arguments)
    finally:
        # Where the process ends as usual, DuckDB complains about all that is still frozen.
        gc.unfreeze()
    return code


def imported(name: str) -> ModuleType:
    """Return a module, imported into a process of its own."""
    # Arrow's own allocator keeps what a file of Parquet took. Only the environment can choose it.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # What imports allocate stays, so searching it for garbage only takes time.
    gc.disable()
    module = import_module(name)
    gc.freeze()
    gc.enable()
    return module


def run() -> NoReturn:
    """Run the command and end the process with its exit code."""
    end(main())


def end(code: int) -> NoReturn:
    """End the process like ``sys.exit``, without freeing memory object by object.

    Freeing the imported modules takes an eighth of the time of a run with no new rows.
    """
    atexit._run_exitfuncs()
    exit_now(code)


def exit_now(code: int) -> NoReturn:
    """End the process without waiting for its threads."""
    for stream in (sys.stdout, sys.stderr):
        if stream:  # a scheduler may have closed it
            stream.flush()
    os._exit(code)


def at_end_of_stdin(stop: Callable[[], object]) -> None:
    """Call ``stop`` when standard input is closed, as it is when the parent process has ended."""

    def wait() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        stop()

    Thread(target=wait, name="textlift-stdin", daemon=True).start()
