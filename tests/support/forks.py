"""Processes that need not import the package, which takes a second of processor time.

A server imports it once. Each process is a fork of the server, with its own arguments, environment,
folder and files.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

_SERVER = """
import json, os, runpy, signal, socket, sys
import tests.support.services, textlift.cli.command
import textlift.mcommons.source, textlift.mgage.source

orders = socket.socket(fileno=int(sys.argv[1]))
# Ctrl+C at a terminal is for the tests.
signal.signal(signal.SIGINT, signal.SIG_IGN)

def answer(value):
    orders.send(json.dumps(value).encode())

def serve():
    while True:
        data, files, _, _ = socket.recv_fds(orders, 1 << 20, 3)
        if not data:
            sys.exit()
        order = json.loads(data)
        if isinstance(order, int):
            answer(os.waitpid(order, os.WNOHANG))
            continue
        child = os.fork()
        if not child:
            return order, files
        for file in files:
            os.close(file)
        answer(child)

(command, cwd, env), files = serve()
orders.close()
signal.signal(signal.SIGINT, signal.default_int_handler)
for number, file in enumerate(files):
    os.dup2(file, number)
    os.close(file)
sys.stdin = open(0)
os.chdir(cwd)
os.environ.clear()
os.environ.update(env)
if command[0] == "-c":
    sys.argv = ["-c", *command[2:]]
    exec(command[1], {"__name__": "__main__"})
elif command[0] == "-m":
    sys.argv = command[1:]
    runpy.run_module(command[1], run_name="__main__", alter_sys=True)
else:
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
"""


class _Server:
    """A process that forks itself on request. It ends when this process does."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                # A process with threads cannot be forked safely.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
            )

    def ask(self, order: Any, files: tuple[int, ...] = ()) -> Any:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(order).encode()], files)
            return json.loads(self._socket.recv(1 << 20))


_server = cache(_Server)


class Fork(subprocess.Popen[str]):
    """A process that runs the arguments of an interpreter in a fork of the server.

    These are a script, ``-c`` and code, or ``-m`` and a module, and then their own arguments.
    Variables of the interpreter in its environment have no effect.
    """

    def _execute_child(self, args: list[str], *others: Any) -> None:
        cwd, env = others[4:6]
        pipes = others[9:15]
        theirs = (pipes[0], pipes[3], pipes[5])
        files = tuple(number if file == -1 else file for number, file in enumerate(theirs))
        order = [args, str(cwd or os.getcwd()), dict(env or os.environ)]
        self.pid = _server().ask(order, files)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        while True:
            pid, status = _server().ask(self.pid)
            if pid or wait_flags:
                return pid, status
            time.sleep(0.002)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def forked(
    command: list[str], cwd: Path, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a fork to its end, without input.

    Args:
        command: The arguments of an interpreter, as for ``Fork``.
        cwd: Its working folder.
        env: Its environment.
        timeout: Seconds after which it is killed.
    """
    pipe = subprocess.PIPE
    with Fork(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
