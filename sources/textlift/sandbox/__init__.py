"""A local stand-in for the services textlift reads from.

`Sandbox` is the HTTP server, with the switches that tests need (latency, faults, a log of calls).
What it answers is the business of a service object, such as `sandbox.mcommons.MobileCommons`:

    from textlift.sandbox import Sandbox
    from textlift.sandbox.mcommons import MobileCommons

    with Sandbox(MobileCommons(profiles=200)) as box:
        print(box.url)

`rehearse(box, "503@3")` makes things go wrong; `sandbox.faults` says what can.
"""

from __future__ import annotations

from textlift.sandbox.faults import Faults, rehearse
from textlift.sandbox.server import Request, Response, Sandbox, Service

__all__ = ["Faults", "Request", "Response", "Sandbox", "Service", "rehearse"]
