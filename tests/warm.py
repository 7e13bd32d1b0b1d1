"""Kernels and their programs that begin with torch imported: one process imports it, and each is a fork of that one.

The layer `notebooks` runs every notebook in a kernel of its own, as a learner does, and all that it starts. Where the same
notebooks run once more for another reason (each beat twice, for the site, in the browser), importing torch again, 4 s of a
core in each kernel and each program, shows nothing new.
"""

from __future__ import annotations

import array
import gc
import importlib.machinery
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STAND_IN = """#!{python} -IS
import sys
sys.path.append({tests!r})
from warm import stand_in
stand_in({place!r}, sys.argv[0], {python!r}, sys.argv[1:])
"""


@contextmanager
def kernels(folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment in which Jupyter's kernel `python3`, and what it starts, is a fork of a process with this environment.

    `WARM_PYTHON` in it is what stands in for Python.
    """
    place, python, spec = folder / "socket", folder / "python", folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    python.write_text(STAND_IN.format(python=sys.executable, tests=str(Path(__file__).parent), place=str(place)))
    python.chmod(0o755)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3 (ipykernel)", "language": "python"}))
    with subprocess.Popen([sys.executable, __file__, str(place)], env={**environment}, stdin=subprocess.PIPE) as server:
        yield {**environment, "JUPYTER_PATH": str(folder), "WARM_PYTHON": str(python)}
        server.communicate()


def serve(place: str) -> None:
    """Forks a process for each client, until standard input ends; a client that goes takes its process with it.

    One event at a time: what the first closes, the next may be about.
    """
    del sys.path[0]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(place)
    listener.listen(64)
    import multiprocessing.spawn  # noqa: F401

    import ipykernel.kernelapp  # noqa: F401
    import ipywidgets  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import torch._dynamo  # noqa: F401

    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for ready, _ in waiting.select()[:1]:
            if ready.fileobj is sys.stdin:
                for key in [*waiting.get_map().values()]:
                    if isinstance(key.data, int):
                        os.kill(key.data, signal.SIGKILL)
                return
            if ready.fileobj is listener:
                client, _ = listener.accept()
                if process := fork(client, listener):
                    waiting.register(client, selectors.EVENT_READ, process)
                    waiting.register(os.pidfd_open(process), selectors.EVENT_READ, (process, client))
            elif isinstance(ready.data, tuple):
                process, client = ready.data
                with suppress(OSError):
                    client.send(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
                waiting.unregister(ready.fd)
                os.close(ready.fd)
                with suppress(KeyError):
                    waiting.unregister(client)
                client.close()
            else:
                told = ready.fileobj.recv(16)
                with suppress(ProcessLookupError):
                    os.kill(ready.data, int(told or signal.SIGKILL))
                if not told:
                    waiting.unregister(ready.fileobj)


def fork(client: socket.socket, listener: socket.socket) -> int:
    """The id of a new process, with the client's arguments, folder, environment and streams; 0 if the client went before."""
    told, sent, _, _ = client.recvmsg(1 << 20, socket.CMSG_SPACE(12))
    if not sent:
        client.close()
        return 0
    streams = array.array("i", sent[0][2])
    if process := os.fork():
        for stream in streams:
            os.close(stream)
        return process
    listener.close()
    for own, stream in enumerate(streams):
        os.dup2(stream, own)
        os.close(stream)
    wanted = json.loads(told)
    os.setsid()
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    try:
        run(wanted["python"], wanted["arguments"])
    finally:
        gc.freeze()
    sys.exit()


def run(python: str, arguments: Sequence[str]) -> None:
    """Does what `python` does that is called with these arguments; nothing else than `stand_in` lets through."""
    import torch

    sys.executable = python
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    flag, *others = arguments
    while flag in ("-u", "-W"):
        if flag == "-u":
            sys.stdout.reconfigure(write_through=True)
        else:
            warnings.simplefilter(others.pop(0))
        flag, *others = others
    if flag == "-c":
        code, *others = others
        main = types.ModuleType("__main__")
        main.__loader__, main.__builtins__ = importlib.machinery.BuiltinImporter, __builtins__
        sys.modules["__main__"], sys.argv, sys.path[:0] = main, ["-c", *others], [""]
        exec(compile(code, "<string>", "exec"), main.__dict__)
    elif flag == "-m":
        sys.argv, sys.path[:0] = others, [os.getcwd()]
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[:0] = [flag, *others], [os.path.dirname(os.path.abspath(flag))]
        runpy.run_path(flag, run_name="__main__")


def stand_in(place: str, own: str, python: str, arguments: Sequence[str]) -> None:
    """What is taken for Python: passes signals on, and ends as the process ends.

    What `run` does not know, Python itself does, and what looks at its own memory: a fork shares that with others.
    """
    first = next((argument for argument in arguments if argument not in ("-u", "-W", "ignore")), "-")
    if first.startswith("-") and first not in ("-c", "-m") or "/proc/self/" in " ".join(arguments):
        os.execv(python, [python, *arguments])
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.connect(place)
    for number in SIGNALS:
        signal.signal(number, lambda number, _: line.send(str(number).encode()))
    told = {"folder": os.getcwd(), "environment": dict(os.environ), "python": own, "arguments": arguments}
    socket.send_fds(line, [json.dumps(told).encode()], [0, 1, 2])
    code = int(line.recv(16) or 1)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code in SIGNALS else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
