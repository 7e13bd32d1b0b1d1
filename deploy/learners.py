"""Who may come in, and how a learner's server is started and ended."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from jupyterhub.auth import Authenticator
from jupyterhub.spawner import LocalProcessSpawner, Spawner
from tornado.web import HTTPError
from traitlets import Dict, Unicode

from accounts import seal
from limits import Groups


class KeyAuthenticator(Authenticator):
    """Lets a learner in by name and key. A wrong key waits for its answer, in a short queue; the right one never waits."""

    keys = Unicode(config=True, help="file of name → seal, read at each log-in")
    came = Dict(help="name → the seal that they came in with")
    waiting, most_waiting, pause = 0, 20, 1

    def wanted(self, name: str) -> str:
        """The seal of that learner's key; nothing fits if there is no such learner."""
        return json.loads(Path(self.keys).read_text()).get(name, "")

    async def authenticate(self, handler: object, data: Mapping[str, str]) -> dict[str, object] | None:
        """The name, if the key is this name's; None if it is not, or there is no such learner."""
        if "username" not in data:
            raise HTTPError(400, "The form came without a name.")
        given, name = seal(data.get("password", "")), data["username"]
        if hmac.compare_digest(given, self.wanted(name)):
            self.came[name] = given
            return name
        self.log.warning("Wrong key for %r", name[:32])
        if self.waiting >= self.most_waiting:
            raise HTTPError(429, "Too many wrong keys at once; wait a moment.")
        self.waiting += 1
        try:
            await asyncio.sleep(self.pause)
        finally:
            self.waiting -= 1
        return None

    async def refresh_user(self, user: object, handler: object = None) -> bool:
        """Whether the key that the learner came in with is still theirs."""
        return self.came.get(user.name) == self.wanted(user.name)


def listener(port: int) -> int | None:
    """The user id that listens at this port of the loopback; None if nobody does."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, _, _, _, uid, *_ = line.split()
        if state == "0A" and local in (f"0100007F:{port:04X}", f"00000000:{port:04X}"):
            return int(uid)
    return None


class Confined(Spawner):
    """Starts the learner's server through `confine.sh`, in control groups; nobody else can answer at its port.

    `room` is what `classroom.py` was told.
    """

    room = Dict(config=True)

    @property
    def account(self) -> pwd.struct_passwd:
        """The learner's system user."""
        return pwd.getpwnam(self.user.name)

    def get_env(self) -> dict[str, str]:
        """The learner's own home and name, and a short path for the sockets of kernels."""
        home = self.account.pw_dir
        runtime = "/tmp/run" if self.room["limits"] else f"{home}/.run"
        return super().get_env() | {"HOME": home, "USER": self.user.name, "JUPYTER_RUNTIME_DIR": runtime}

    async def start(self) -> tuple[str, int]:
        """Ends what may be left of an earlier server, starts this one, and waits until it listens itself."""
        room, here, name = self.room, Path(__file__).parent, self.user.name
        groups = Groups(room["groups"])
        await asyncio.to_thread(groups.end, name, self.account.pw_uid)
        if room["limits"]:
            groups.make(name, room["memory"], room["cores"], room["processes"])
        own = [] if self.by_systemd else sorted({str(folder) for folder in groups.folders(name).values()})
        self.cmd = [
            *("setpriv", "--pdeathsig=KILL", "sh", str(here / "confine.sh"), "outside" if room["limits"] else "open"),
            *(str(self.account.pw_uid), self.account.pw_dir, f"{room['run']}/images/{name}"),
            *(str(room["memory"] // 2), str(room["processes"]), " ".join(own)),
            *("sh", str(here / "begin.sh"), f"{room['run']}/lessons", room["server"]),
        ]
        self.own_port = None
        address = await super().start()
        while listener(address[1]) is None and await self.poll() is None:
            await asyncio.sleep(0.2)
        self.own_port = address[1]
        if await self.poll() is not None:
            raise RuntimeError(f"The server of {name} ended at once, or its port was taken by another.")
        if not self.by_systemd:
            watch = os.pidfd_open(self.proc.pid)
            asyncio.get_running_loop().add_reader(watch, self.ended, watch)
        return address

    def ended(self, watch: int) -> None:
        """Takes the server out of the proxy at once when its process is gone, before another can take its port."""
        asyncio.get_running_loop().remove_reader(watch)
        os.close(watch)
        if self.own_port:
            self.task = asyncio.ensure_future(self.poll_and_notify())

    async def poll(self) -> int | None:
        """None while the server runs; one whose port is somebody else's is ended."""
        state = await super().poll()
        if state is None and self.own_port and listener(self.own_port) != self.account.pw_uid:
            self.log.warning("%s does not listen at the port of %s; ended.", listener(self.own_port), self.user.name)
            await self.stop(now=True)
            return 1
        return state

    async def stop(self, now: bool = False) -> None:
        """Ends all that the learner runs."""
        self.own_port = None
        await asyncio.to_thread(Groups(self.room["groups"]).end, self.user.name, self.account.pw_uid)
        await super().stop(now)

    own_port: int | None = None
    by_systemd = True


class LocalConfined(Confined, LocalProcessSpawner):
    """Without systemd: a process of the hub, which dies with it."""

    by_systemd = False

    def make_preexec_fn(self, name: str) -> None:
        """Nothing: `confine.sh` becomes the learner."""
