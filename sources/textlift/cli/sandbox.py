"""Start the sandbox of a service, and a receiver of its webhooks, in processes of their own."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import IO, Any

from dlt.extract import DltSource

from textlift.cli.progress import emit
from textlift.errors import ConfigurationError
from textlift.registry import Job, sandbox_of
from textlift.sandbox.service import flag
from textlift.sandbox.webhooks import POSTED
from textlift.webhooks.settings import EXTRA, WebhookSettings, secret_variable

#: Folder that contains the package.
_SOURCES = Path(__file__).resolve().parents[2]


@contextmanager
def sandbox_source(
    job: Job, resources: Sequence[str] | None, storage: Path
) -> Iterator[Callable[..., DltSource]]:
    """Yield the source for a sandbox that runs in the block. It ends with this process.

    If the service posts webhooks, a receiver runs beside it. The block begins when the receiver has
    what the sandbox posts at first.

    Args:
        job: The pipeline of the service.
        resources: Names of the resources to load. ``None`` means all of them.
        storage: Folder for what the receiver gets. It is deleted after the block.

    Raises:
        ConfigurationError: The sandbox or the receiver did not start.
    """
    spec = sandbox_of(job.name)
    options, settings = dict(spec.hurried), dict[str, Any]()
    posts = (
        "webhooks" in spec.options
        and any(
            endpoint.webhook and (resources is None or endpoint.name in resources)
            for endpoint in job.endpoints
        )
        and _can_receive(job.name)
    )
    with ExitStack() as stack:
        if posts:
            stack.callback(rmtree, storage, ignore_errors=True)
            secret = secrets.token_urlsafe(32)
            command = ["webhooks", job.name, "--storage", str(storage)]
            receiver = _running(command, {secret_variable(job.name): secret})
            options["webhooks"] = f"{stack.enter_context(receiver)[0]}/{secret}"
            settings["webhooks"] = WebhookSettings(storage=str(storage))
        flags = [text for name, value in options.items() for text in (flag(name), str(value))]
        url, output = stack.enter_context(_running(["sandbox", job.name, *flags]))
        if posts:
            line = next((line.strip() for line in output if line.endswith(POSTED)), None)
            if line is None:
                raise _not_started("sandbox")
            _note(job.name, line)
        yield partial(job.sandbox_source, url, **settings)


def _can_receive(service: str) -> bool:
    """Return whether the receiver is installed. Print how to install it if it is not."""
    try:
        import textlift.webhooks.receiver  # noqa: F401
    except ImportError:
        _note(service, f"webhooks are left out; to load them too: {EXTRA}")
        return False
    return True


def _note(service: str, note: str) -> None:
    emit("webhooks", f"{service}: {note}", {"service": service, "note": note})


@contextmanager
def _running(
    command: Sequence[str], settings: Mapping[str, str] | None = None
) -> Iterator[tuple[str, IO[str]]]:
    """Run a server of ours on a free port. Yield its URL, and what it prints after that.

    Args:
        command: The command of ``textlift``, and its options.
        settings: Variables to add to the environment.

    Raises:
        ConfigurationError: It did not start.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "textlift", *command, "--port", "0", "--exit-with-stdin"],
        cwd=_SOURCES,
        env={**os.environ, **(settings or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    try:
        found = re.search(r"http://[\w.:/]+", process.stdout.readline())
        if not found:
            raise _not_started(command[0])
        yield found[0], process.stdout
    finally:
        process.stdin.close()
        process.wait()


def _not_started(command: str) -> ConfigurationError:
    return ConfigurationError(f"textlift {command} did not start.\nIts own message stands above.")
