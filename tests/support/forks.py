"""Scripts in processes that need not import the package, which takes a second of processor time.

A server imports it once. Each script runs in a fork of the server, with its own arguments,
environment, folder and output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

_SERVER = """
import json, os, runpy, signal, sys
import textlift.cli.command, textlift.mcommons.source, textlift.mgage.source

for line in sys.stdin:
    command, cwd, env, timeout, files = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitpid(child, 0)[1], flush=True)
        continue
    signal.alarm(timeout)
    for number, file in enumerate(files):
        os.dup2(os.open(file, os.O_RDWR), number)
    sys.stdin = open(0)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
    sys.exit()
"""


@cache
def _server() -> subprocess.Popen[str]:
    """Start the server of this process. It ends when this process does."""
    return subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        # A process with threads cannot be forked safely.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def forked(
    command: list[str], cwd: Path, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, without input.

    Args:
        command: The script and its arguments.
        cwd: Its working folder.
        env: Its environment. Variables of the interpreter have no effect.
        timeout: Seconds after which it is killed.
    """
    server = _server()
    assert server.stdin and server.stdout
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        out.touch()
        err.touch()
        files = [os.devnull, str(out), str(err)]
        order = [command, str(cwd), env, int(timeout), files]
        server.stdin.write(f"{json.dumps(order)}\n")
        server.stdin.flush()
        code = os.waitstatus_to_exitcode(int(server.stdout.readline()))
        return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())
