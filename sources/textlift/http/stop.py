"""A signal that ends all requests of a run."""

from __future__ import annotations

import threading

from textlift.errors import CredentialsError, ServiceError


class StopSignal:
    """Ends the pauses of all threads of a run, and tells them why.

    It is set once, when the run ends, or when the service refuses the credentials: then no other
    thread sends them again.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._refused: CredentialsError | None = None

    def set(self, refused: CredentialsError | None = None) -> None:
        """Stop the run; ``refused`` is raised in all its threads."""
        self._refused = self._refused or refused
        self._event.set()

    def pause(self, seconds: float) -> None:
        """Wait ``seconds``, or until the run is stopped."""
        self._event.wait(max(0.0, seconds))

    def raise_if_set(self) -> None:
        """Raise CredentialsError or ServiceError if the run was stopped."""
        if self._refused is not None:
            raise CredentialsError(str(self._refused))
        if self._event.is_set():
            raise ServiceError("the run was stopped")
