"""The address at which a command listens."""

from __future__ import annotations

import argparse
from socket import AF_INET, AF_INET6, create_server, socket

from textlift.errors import ConfigurationError


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """Add the arguments ``host`` and ``port``; by default other machines cannot connect."""
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=port, help="port, 0 for any free one (default: %(default)s)"
    )


def listen(host: str, port: int) -> tuple[socket, str]:
    """Return a socket that listens, and its URL.

    Raises:
        ConfigurationError: The address cannot be used.
    """
    try:
        listening = create_server((host, port), family=AF_INET6 if ":" in host else AF_INET)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"Cannot listen on {host}, port {port}: {reason}\nChoose others with --host and --port."
        ) from None
    address, bound, *_ = listening.getsockname()
    return listening, f"http://{f'[{address}]' if ':' in address else address}:{bound}"
