"""Changes to the sandbox, or to its responses, during a load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.conftest import Warehouse
from textlift.sandbox import Request, Response


@contextmanager
def corrupted(warehouse: Warehouse, endpoint: str, old: bytes, new: bytes) -> Iterator[None]:
    """Answers of ``endpoint`` with ``old`` replaced by ``new``."""

    def corrupt(request: Request, response: Response) -> Response | None:
        if request.endpoint != endpoint or old not in response.body:
            return None
        return Response(response.status, response.body.replace(old, new), dict(response.headers))

    warehouse.box.hooks.append(corrupt)
    yield
    warehouse.box.hooks.remove(corrupt)


#: More answers than any run here needs.
ALWAYS = 10**6


@contextmanager
def between_pages(
    warehouse: Warehouse,
    change: Callable[[int], object],
    times: int = ALWAYS,
    where: Callable[[Request], bool] = lambda request: True,
) -> Iterator[None]:
    """Something that happens to the service after each of its first answers."""
    lock, done = threading.Lock(), [0]

    def hook(request: Request, response: Response) -> None:
        with lock:
            if done[0] < times and where(request):
                done[0] += 1
                change(done[0])

    warehouse.box.hooks.append(hook)
    yield
    warehouse.box.hooks.remove(hook)
