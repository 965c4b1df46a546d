"""The server of the dashboard: marimo's, with a token that each browser needs.

marimo is used as a library. Its command would look for new versions of itself on the internet, and run
without a token.
"""

from __future__ import annotations

from pathlib import Path
from signal import SIGINT, SIGTERM, signal
from socket import socket
from typing import Any

import altair  # noqa: F401 (the app imports it when a page is opened; it may be missing)
import marimo
from uvicorn import Config, Server

from textlift.dashboard import session
from textlift.dashboard.warehouse import Warehouse

_APP = Path(__file__).with_name("app.py")


def serve(client: Any, listening: socket, token: str) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        client: dlt's SQL client of the warehouse.
        listening: The socket to serve at.
        token: What a browser has to know.
    """
    session.shown = Warehouse(client)
    app = marimo.create_asgi_app(quiet=True, token=token).with_app(path="", root=str(_APP)).build()
    config = Config(
        app,
        log_config=None,
        log_level="error",
        # Its lines would hold the token.
        access_log=False,
        server_header=False,
        # A page that is open keeps a connection.
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    for signum in (SIGINT, SIGTERM):
        # uvicorn raises the signal again in the end; then the process must not be killed by it.
        signal(signum, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[listening])
