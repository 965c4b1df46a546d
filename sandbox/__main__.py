"""Serves the sandbox from the command line: `python -m sandbox --help`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from .mcommons import MobileCommons
from .mcommons.store import ORDERS
from .server import Sandbox

USERNAME, PASSWORD, TOKEN = "sandbox@example.org", "sandbox-password", "sandbox-token"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted. Returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    if options.exit_with_stdin:
        threading.Thread(target=_wait_for_end_of_stdin, args=(stop,), daemon=True).start()
    try:
        service = MobileCommons(
            seed=options.seed,
            profiles=options.profiles,
            now=options.now,
            start=options.start,
            order=options.order,
            username=USERNAME,
            password=PASSWORD,
            token=TOKEN,
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        box = Sandbox(service, port=options.port, latency=options.latency)
    except OSError as error:
        print(
            f"cannot listen on port {options.port}: {error.strerror}; "
            "choose another with --port, or --port 0 for any free one",
            file=sys.stderr,
        )
        return 1
    with box:
        print(f"Mobile Commons sandbox: {box.url}", flush=True)
        print(f"username {USERNAME}, password {PASSWORD}; or token {TOKEN}", flush=True)
        stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A local server that speaks the Mobile Commons API about an invented account.",
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="0 picks a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--profiles",
        type=int,
        default=2000,
        help="size of the account; everything else scales with it (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, another account (default: %(default)s)"
    )
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="SECONDS", help="slept by each call"
    )
    parser.add_argument(
        "--start",
        default="2024-01-01T00:00:00Z",
        metavar="DATE",
        help="when the account begins (default: %(default)s)",
    )
    parser.add_argument(
        "--now", metavar="WHEN", help="stop the clock at this time (default: the real time)"
    )
    parser.add_argument(
        "--order", choices=ORDERS, default="id", help="of profiles (default: %(default)s)"
    )
    parser.add_argument(
        "--exit-with-stdin",
        action="store_true",
        help="stop when standard input is closed, so that no killed parent leaves an orphan",
    )
    return parser


def _wait_for_end_of_stdin(stop: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
