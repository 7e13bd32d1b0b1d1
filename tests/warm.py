"""Kernels that begin with torch imported: one process imports it, and each kernel is a fork of that one.

The layer `notebooks` runs every notebook in a kernel of its own, as a learner does. Where the same notebooks run once more for
another reason (each beat twice, for the site, in the browser), importing torch again, 4 s of a core, shows nothing new.
"""

from __future__ import annotations

import array
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def kernels(folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment in which Jupyter's kernel `python3` is a fork of a process that has this environment."""
    place, spec = folder / "socket", folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [sys.executable, "-I", __file__, str(place), "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3 (ipykernel)", "language": "python"}))
    with subprocess.Popen([sys.executable, __file__, str(place)], env={**environment}, stdin=subprocess.PIPE) as server:
        yield {**environment, "JUPYTER_PATH": str(folder)}
        server.communicate()


def serve(place: str) -> None:
    """Forks a kernel for each client, until standard input ends; a client that goes takes its kernel with it."""
    del sys.path[0]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(place)
    listener.listen(64)
    import ipykernel.kernelapp  # noqa: F401
    import ipywidgets  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import torch._dynamo  # noqa: F401

    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for ready, _ in waiting.select():
            if ready.fileobj is sys.stdin:
                for key in [*waiting.get_map().values()]:
                    if isinstance(key.data, int):
                        os.kill(key.data, signal.SIGKILL)
                return
            if ready.fileobj is listener:
                client, _ = listener.accept()
                kernel = fork(client, listener)
                waiting.register(client, selectors.EVENT_READ, kernel)
                waiting.register(os.pidfd_open(kernel), selectors.EVENT_READ, (kernel, client))
            elif isinstance(ready.data, tuple):
                kernel, client = ready.data
                with suppress(OSError):
                    client.send(str(os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1])).encode())
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
    """The id of a new kernel, with the client's arguments, folder, environment and streams."""
    told, sent, _, _ = client.recvmsg(1 << 20, socket.CMSG_SPACE(12))
    if kernel := os.fork():
        for stream in array.array("i", sent[0][2]):
            os.close(stream)
        return kernel
    from ipykernel.kernelapp import launch_new_instance

    listener.close()
    for own, stream in enumerate(array.array("i", sent[0][2])):
        os.dup2(stream, own)
        os.close(stream)
    wanted = json.loads(told)
    os.setsid()
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.argv = ["ipykernel_launcher", "-f", *wanted["arguments"]]
    try:
        launch_new_instance()
    finally:
        os._exit(0)


def stand_in(place: str, *arguments: str) -> int:
    """What Jupyter takes for its kernel: passes signals on, and ends as the kernel ends."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.connect(place)
    for number in SIGNALS:
        signal.signal(number, lambda number, _: line.send(str(number).encode()))
    told = json.dumps({"folder": os.getcwd(), "environment": dict(os.environ), "arguments": arguments}).encode()
    socket.send_fds(line, [told], [0, 1, 2])
    code = int(line.recv(16) or 1)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(stand_in(*sys.argv[1:]) if len(sys.argv) > 2 else serve(sys.argv[1]))
