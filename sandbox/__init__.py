"""A local stand-in for the services textlift reads from.

`Sandbox` is the HTTP server, with the switches that tests need (latency, faults, a log of calls).
What it answers is the business of a service object, such as `sandbox.mcommons.MobileCommons`:

    from sandbox import Sandbox
    from sandbox.mcommons import MobileCommons

    with Sandbox(MobileCommons(profiles=200)) as box:
        print(box.url)
"""

from __future__ import annotations

from .server import Request, Response, Sandbox, Service

__all__ = ["Request", "Response", "Sandbox", "Service"]
