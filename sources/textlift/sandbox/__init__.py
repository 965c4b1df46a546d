"""Local stand-ins for the services that textlift loads.

`Sandbox` is the HTTP server, with what tests need: latency, faults, a log of calls. It answers with
a service, such as `sandbox.mcommons.MobileCommons`:

    from textlift.sandbox import Sandbox
    from textlift.sandbox.mcommons import MobileCommons

    with Sandbox(MobileCommons(profiles=200)) as box:
        print(box.url)

`rehearse(box, "503@3")` adds faults, which `sandbox.faults` lists.

A service is declared with `tables` (rows, and what fills them), `service` (routes, paging, windows,
logins, limits), `xml` (how rows are printed) and `damage` (faults for XML and JSON).
"""

from __future__ import annotations

from textlift.sandbox.faults import Faults, rehearse
from textlift.sandbox.server import Request, Response, Sandbox, Service

__all__ = ["Faults", "Request", "Response", "Sandbox", "Service", "rehearse"]
