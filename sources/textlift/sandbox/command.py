"""The command ``textlift sandbox``."""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap
import threading
from collections.abc import Sequence

from textlift.sandbox.faults import Faults, kinds
from textlift.sandbox.mcommons import MobileCommons
from textlift.sandbox.mgage import MGage
from textlift.sandbox.server import Sandbox

USERNAME, PASSWORD, TOKEN = "sandbox@example.org", "sandbox-password", "sandbox-token"

_OPTIONS_OF = {
    "mcommons": ("seed", "profiles", "columns", "now", "start", "order"),
    "mgage": ("seed", "messages", "now", "order"),
}


_FAULTS = """\
faults: KIND[=VALUE][@[ENDPOINT:]WHEN], or KIND[=VALUE]@ENDPOINT
  503@7                     the seventh call; 7-9, 7- (from the seventh on), or always
  429=2@profiles:10%        one call in ten to an endpoint, with Retry-After: 2
  transient@5%,hang@100     at random what a client has to survive; no answer to call 100
  text@groups,comment@tags  HTTP 200 without a list; one whose rows stand in a comment
"""


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
        service, name, note = _service(options)
        faults = [Faults(service, options.faults, options.fault_seed)] if options.faults else []
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
    box.faults += faults
    with box:
        print(f"{name} sandbox: {box.url}", flush=True)
        print(note, flush=True)
        stop.wait()
    return 0


def _service(options: argparse.Namespace) -> tuple[MobileCommons | MGage, str, str]:
    """The service, its name, and a note on how to call it. Raises ValueError."""
    given = {
        option: getattr(options, option)
        for option in sorted({option for names in _OPTIONS_OF.values() for option in names})
        if getattr(options, option) is not None
    }
    for option in given:
        if option not in _OPTIONS_OF[options.service]:
            raise ValueError(f"--{option} does not go with {options.service}")
    login = f"username {USERNAME}, password {PASSWORD}"
    if options.service == "mgage":
        exporter = MGage(**given, username=USERNAME, password=PASSWORD)
        programs = ", ".join(map(str, exporter.programs))
        return exporter, "mGage", f"programs {programs}; {login}"
    account = MobileCommons(
        **{"profiles": 2000, **given}, username=USERNAME, password=PASSWORD, token=TOKEN
    )
    return account, "Mobile Commons", f"{login}; or token {TOKEN}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textlift sandbox",
        description="A local server that speaks a vendor's API about an invented account.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("service", choices=_OPTIONS_OF)
    add("--port", type=int, default=8080, help="0 means any free port (default: %(default)s)")
    add(
        "--profiles",
        type=int,
        help="mcommons: size of the account; all else is in proportion (default: 2000)",
    )
    add(
        "--columns",
        type=int,
        help="mcommons: how many custom columns there are at all times "
        "(default: 4 at the start, and one more every hundred days)",
    )
    add(
        "--messages",
        type=int,
        help="mgage: how many in three years, of which one is served (default: 2000)",
    )
    add("--seed", type=int, default=1, help="another seed, another account (default: %(default)s)")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="each call waits this long")
    add(
        "--start",
        metavar="DATE",
        help="mcommons: when the account begins (default: 2024-01-01T00:00:00Z)",
    )
    add("--now", metavar="WHEN", help="stop the clock at this time (default: the real time)")
    add(
        "--order",
        help="of profiles: id, updated_at, -updated_at; of messages of mgage: date, -date "
        "(default: the first)",
    )
    add(
        "--faults",
        action="append",
        default=[],
        metavar="SPEC",
        help="make calls fail, see below; can be repeated, and hold several with commas",
    )
    add(
        "--fault-seed",
        type=int,
        default=1,
        metavar="N",
        help="another seed, other random faults (default: %(default)s)",
    )
    add(
        "--exit-with-stdin",
        action="store_true",
        help="stop when standard input is closed, so that the server does not outlive its parent",
    )
    return parser


def _epilog() -> str:
    """The help for --faults."""
    ours, theirs = kinds(MobileCommons.damage), kinds(MGage.damage)
    lists = {
        "kinds": [kind for kind in ours if kind in theirs],
        "mcommons only": [kind for kind in ours if kind not in theirs],
        "mgage only": [kind for kind in theirs if kind not in ours],
    }
    return _FAULTS + "\n".join(
        textwrap.fill(
            f"{title}: {', '.join(names)}",
            width=78,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
        for title, names in lists.items()
    )


def _wait_for_end_of_stdin(stop: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    stop.set()
