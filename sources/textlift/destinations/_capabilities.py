"""Capabilities of a destination that are the same with every configuration."""

from __future__ import annotations

from typing import Any

from dlt.common.destination import Destination, DestinationCapabilitiesContext


class FixedCapabilities(Destination[Any, Any]):
    """A destination whose capabilities do not depend on its configuration.

    dlt asks for them dozens of times in a run, and resolves the whole configuration each time.
    """

    def capabilities(
        self, config: Any = None, naming: Any = None
    ) -> DestinationCapabilitiesContext:
        """Return the capabilities without resolving a configuration."""
        return super().capabilities(self.spec() if config is None else config, naming)
