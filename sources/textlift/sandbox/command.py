"""The command ``textlift sandbox``."""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap
import threading
from collections.abc import Mapping, Sequence

from textlift.cli import at_end_of_stdin
from textlift.registry import SERVICES, sandbox_of
from textlift.sandbox.faults import Faults, kinds
from textlift.sandbox.server import Sandbox
from textlift.sandbox.service import Option, SandboxSpec, flag
from textlift.sandbox.webhooks import POSTED, Webhooks

#: Options that the sandbox of every service has.
_COMMON = {
    "seed": Option("another seed, another account (default: 1)", int),
    "now": Option("stop the clock at this time (default: the real time)"),
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
    specs = {service: sandbox_of(service) for service in SERVICES}
    parser = _parser(specs)
    options = parser.parse_args(arguments)
    spec = specs[options.service]
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    if options.exit_with_stdin:
        at_end_of_stdin(stop.set)
    given = {name: getattr(options, name) for name in {**_COMMON, **spec.options}}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        service = spec.open(**{**spec.defaults, **given})
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
        print(f"{spec.title} sandbox: {box.url}", flush=True)
        print(f"{spec.describe(service)}{spec.login}", flush=True)
        if service.webhooks:
            threading.Thread(target=_tell, args=(service.webhooks,), daemon=True).start()
        stop.wait()
    return 0


def _tell(webhooks: Webhooks) -> None:
    """Print a line when what happened before the start is posted."""
    webhooks.caught_up.wait()
    print(f"{len(webhooks.accepted):,}{POSTED}", end="", flush=True)


def _parser(specs: Mapping[str, SandboxSpec]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textlift sandbox",
        description="A local server that speaks a vendor's API about an invented account.",
        epilog=_epilog(specs),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    services = parser.add_subparsers(dest="service", metavar="SERVICE", required=True)
    for name, spec in specs.items():
        service = services.add_parser(
            name,
            help=f"the sandbox of {spec.title}; --help lists its options",
            epilog=_epilog(specs),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for option, declared in {**_COMMON, **spec.options}.items():
            service.add_argument(flag(option), type=declared.type, help=declared.help)
        _add_server_options(service)
    return parser


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--port", type=int, default=8080, help="0 means any free port (default: %(default)s)")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="each call waits this long")
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


def _epilog(specs: Mapping[str, SandboxSpec]) -> str:
    """The help for --faults: kinds that all services have, and those of each."""
    of_service = {name: kinds(spec.damage) for name, spec in specs.items()}
    common = [
        kind
        for kind in next(iter(of_service.values()))
        if all(kind in each for each in of_service.values())
    ]
    lists = {"kinds": common} | {
        f"more of {name}": [kind for kind in own if kind not in common]
        for name, own in of_service.items()
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
