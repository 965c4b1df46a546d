"""``textlift webhooks``: receive what a service posts, and keep it until it is loaded."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from signal import SIGTERM
from threading import Event, Thread

from textlift.cli import at_end_of_stdin, command, progress
from textlift.cli.listening import add_address, listen
from textlift.errors import ConfigurationError
from textlift.registry import SERVICES, endpoints_of
from textlift.settings import check_privacy
from textlift.webhooks.settings import EXTRA, check_secret, open_storage, read_settings

PORT = 8085
#: Seconds between two lines about what was answered.
INTERVAL = 60.0


def main(argv: Sequence[str]) -> int:
    """Receive webhooks until the process is stopped, and return the exit code."""
    options = _parse(argv)
    return command.run_private(lambda: _run(options))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    posting = [name for name in SERVICES if any(each.webhook for each in endpoints_of(name))]
    parser = argparse.ArgumentParser(
        prog="textlift webhooks",
        description="Receive what a service posts at /SECRET/TABLE, and keep it until a load takes "
        "it. A post gets 200 only when it is on durable storage.",
        epilog="exit codes: 0 stopped by a signal; 1 failed; 2 usage or configuration",
    )
    parser.add_argument("service", choices=posting)
    add_address(parser, PORT)
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="folder or bucket (default: sources.SERVICE.webhooks.storage)",
    )
    parser.add_argument(
        "--exit-with-stdin",
        action="store_true",
        help="stop when standard input is closed, so that the receiver does not outlive its parent",
    )
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    try:
        from textlift.webhooks.receiver import Limits, Receiver, serve
    except ImportError as error:
        raise ConfigurationError(
            f"Webhooks need a package that is not installed: {error.name}\n"
            f"Install the extra: {EXTRA}."
        ) from None
    service = options.service
    settings = read_settings(service)
    secret = check_secret(service, settings.secret)
    # A policy needs the key, and with the key what is received is encrypted.
    check_privacy(service, endpoints_of(service))
    storage = open_storage(service, options.storage or settings.storage)
    kinds = [endpoint.name for endpoint in endpoints_of(service) if endpoint.webhook]
    storage.prepare(kinds)
    limits = Limits()
    receiver = Receiver(kinds, storage, secret, limits)
    listening, url = listen(options.host, options.port)
    emit = progress.emit
    emit("start", f"{service}: receiving webhooks at {url}", {"service": service, "url": url})
    if options.exit_with_stdin:
        at_end_of_stdin(lambda: os.kill(os.getpid(), SIGTERM))
    ended = Event()
    Thread(target=_tell, args=(service, receiver.answers, ended), daemon=True).start()
    serve(receiver, listening, limits)
    ended.set()
    answers = _counts(receiver.answers)
    emit("end", f"{service}: stopped; {answers or 'no posts'}", {"service": service})
    return command.LOADED


def _tell(service: str, answers: Mapping[tuple[str, int], int], ended: Event) -> None:
    """Print what was answered in each interval with posts."""
    before: Counter[tuple[str, int]] = Counter()
    while not ended.wait(INTERVAL):
        now = Counter(dict(answers))
        text = _counts(now - before)
        if text:
            progress.emit("webhooks", f"{service}: {text}", {"service": service, "answers": text})
        before = now


def _counts(answers: Mapping[tuple[str, int], int]) -> str:
    """Return the numbers of answers, such as ``unsubscribes 12 stored; bounces 1 refused (400)``."""
    return "; ".join(
        f"{kind or 'wrong path'} {count:,} {'stored' if status == 200 else f'refused ({status})'}"
        for (kind, status), count in sorted(answers.items())
    )
