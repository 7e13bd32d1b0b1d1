"""What the kernel holds a learner's processes to: one control group a learner, and the end of all that is in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

TOOLS = ("unshare", "setpriv", "prlimit", "mount", "mountpoint", "mkfs.ext4", "debugfs", "fallocate")
V1 = {"memory": "memory.limit_in_bytes", "cpu": "cpu.cfs_quota_us", "pids": "pids.max", "cpuacct": "cpuacct.usage"}
V2 = {"memory": "memory.max", "cpu": "cpu.max", "pids": "pids.max"}
MOUNT = Path("/sys/fs/cgroup")


class Groups:
    """The control groups of one class. `places` is controller → folder, with `{name}` where the learner's name stands."""

    def __init__(self, places: dict[str, str]) -> None:
        self.places, self.v2 = places, "cpuacct" not in places

    @classmethod
    def of_this_machine(cls, label: str) -> Groups:
        """Where the groups of a class of that label belong: systemd's units, cgroup v2, or v1 below this process's own."""
        if systemd():
            return cls(dict.fromkeys(V2, f"{MOUNT}/system.slice/{label}.{{name}}.service"))
        if (MOUNT / "cgroup.controllers").exists():
            return cls(dict.fromkeys(V2, f"{MOUNT}/{label}/{{name}}"))
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        own = {which: path.rstrip("/") for _, several, path in lines for which in several.split(",")}
        return cls({which: f"{MOUNT}/{which}{own[which]}/{label}/{{name}}" for which in V1 if which in own})

    def folders(self, name: str) -> dict[str, Path]:
        """Controller → the learner's folder."""
        return {which: Path(place.format(name=name)) for which, place in self.places.items()}

    def missing(self) -> str | None:
        """What this machine lacks to hold a learner; None if nothing."""
        if absent := [tool for tool in TOOLS if not shutil.which(tool)]:
            return f"the command {absent[0]}"
        spaces = ["unshare", "--mount", "--ipc", "--pid", "--fork", "--mount-proc", "true"]
        if subprocess.run(spaces, stderr=subprocess.DEVNULL).returncode or not Path("/dev/loop-control").exists():
            return "namespaces and loop devices of the kernel"
        try:
            self.make("probe", 64, 1.0, 10)
        except (OSError, KeyError) as error:
            return f"control groups of the kernel ({error})"
        self.close("probe")
        return None

    def make(self, name: str, megabytes: int, cores: float, processes: int) -> None:
        """The learner's group, with its limits; systemd makes its own."""
        if systemd():
            return
        quota, most = round(cores * 100_000), megabytes << 20
        limits = {"memory": most, "cpu": f"{quota} 100000" if self.v2 else quota, "pids": processes}
        for folder in self.folders(name).values():
            folder.mkdir(parents=True, exist_ok=True)
            if self.v2:
                for above in (MOUNT, folder.parent):
                    (above / "cgroup.subtree_control").write_text("+memory +cpu +pids")
        for which, limit in limits.items():
            (self.folders(name)[which] / (V2 if self.v2 else V1)[which]).write_text(str(limit))
        swap = self.folders(name)["memory"] / ("memory.swap.max" if self.v2 else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if self.v2 else str(most))

    def use(self, name: str) -> tuple[int, float]:
        """Bytes that the learner takes now, and seconds of cores since the server's start; zeros without a group."""
        with suppress(OSError, KeyError):
            folders = self.folders(name)
            if not self.v2:
                seconds = int((folders["cpuacct"] / "cpuacct.usage").read_text()) / 1e9
                return int((folders["memory"] / "memory.usage_in_bytes").read_text()), seconds
            seconds = int((folders["cpu"] / "cpu.stat").read_text().split()[1]) / 1e6
            return int((folders["memory"] / "memory.current").read_text()), seconds
        return 0, 0.0

    def processes(self, name: str, uid: int) -> set[int]:
        """All that is in the learner's group, or runs as the learner."""
        found = set(of_user(uid))
        for folder in self.folders(name).values():
            with suppress(OSError):
                found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()} - {0}
        return found

    def end(self, name: str, uid: int, tries: int = 400) -> bool:
        """Kills all that, however fast it forks, and takes the group away; whether nothing is left."""
        if "pids" in self.places:
            with suppress(OSError):
                (self.folders(name)["pids"] / "pids.max").write_text("0")
        kill = [sys.executable, "-ISc", "import os; os.kill(-1, 9)"]
        while (left := self.processes(name, uid)) and (tries := tries - 1):
            subprocess.run(kill, user=uid, group=uid, extra_groups=[], cwd="/")
            for pid in left:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self.close(name)
        return not left

    def close(self, name: str) -> None:
        """Takes away the learner's empty group, and the class's when it was the last."""
        for folder in set(self.folders(name).values()):
            with suppress(OSError):
                folder.rmdir()
                folder.parent.rmdir()


def of_user(uid: int) -> Iterator[int]:
    """The processes of a user that have not ended."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == uid and process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid


def systemd() -> bool:
    """Whether systemd runs this machine."""
    return Path("/run/systemd/system").is_dir()
