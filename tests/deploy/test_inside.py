"""What a learner tries from their own kernel: root, the others' files, all memory, all cores, all processes, the disk."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress

import psutil
import pytest

from conftest import DEPLOY, ONE, ROOT, TWO, a_visitor, classroom, hub_of, play, uid
from learners import listener
from limits import Groups
from patience import until

STEAL = """
import os, pathlib, signal
def tried(work):
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return "done"
{}
"""


def played(room, story, kept=True):
    """Runs a story of two learners who are in; the second is the bad one."""

    async def whole():
        one, two = await a_visitor(room, 1), await a_visitor(room, 2)
        try:
            await one.run("kept = 41")
            await story(one, two)
            assert not kept or await one.run("kept + 1") == "42"
        finally:
            await one.__aexit__(None, None, None)
            await two.__aexit__(None, None, None)

    play(whole())


async def gone(work):
    """A cell that may take its own kernel down with it."""
    with suppress(RuntimeError, OSError):
        await asyncio.wait_for(work, 600)


def groups(room):
    return Groups(json.loads((room.run / "room.json").read_text())["groups"])


def test_files_secrets_and_processes_of_others_are_closed(room):
    async def story(one, two):
        await one.run("import pathlib; pathlib.Path('mine.txt').write_text('x')")
        pid = (await one.run("import os; print(os.getpid())")).strip()
        home, other, hub = room.run / "homes" / ONE, room.run / "homes" / TWO, hub_of(room).pid
        secret = ("keys.json", "hub.log", "room.json", "hub/hub.sqlite", "hub/cookie_secret", f"images/{ONE}")
        for path in (f"{home}/notebooks/mine.txt", *(f"{room.run}/{name}" for name in secret)):
            assert await two.run(STEAL.format(f"print(tried(lambda: open({path!r}).read()))")) == "PermissionError\n", path
        for work in (
            f"os.listdir({str(home)!r})",
            f"open({str(ROOT / 'helpers' / 'lesson.py')!r}, 'a')",
            f"open({str(DEPLOY / 'begin.sh')!r}, 'a')",
            f"open('{room.run}/lessons/notebooks/00_start_here.ipynb', 'a')",
            f"os.kill({hub}, 0)",
            f"open('/proc/{hub}/environ').read()",
            "os.setuid(0)",
        ):
            said = await two.run(STEAL.format(f"print(tried(lambda: {work}))"))
            assert said.strip() in ("PermissionError", "OSError", "ProcessLookupError", "FileNotFoundError"), (work, said)
        seen = await two.run("print(os.getuid(), sorted(os.environ), os.environ['HOME'])")
        assert (
            seen.startswith(str(uid(TWO)))
            and "CLASS_" not in seen.replace("CLASS_PROGRESS", "")
            and seen.strip().endswith(str(other))
        )
        assert pid not in (await two.run("print([p for p in os.listdir('/proc') if p.isdigit()])")) or int(pid) < 200
        for path in ("api/contents/notebooks", "api/sessions", "api/kernels"):
            status, told = await two.call("GET", path, user=ONE)
            assert status in (403, 404) or not isinstance(told, (dict, list)), (path, status)

    played(room, story)


def test_a_learner_can_write_in_the_home_and_three_places_that_end_with_the_server(room):
    async def story(one, two):
        find = "find / -xdev -type d -writable -not -path '/proc/*' 2>/dev/null; find /run /dev -type d -writable 2>/dev/null"
        found = set((await two.run(f"import subprocess; print(subprocess.getoutput({find!r}))")).split())
        assert found <= {"/tmp", "/tmp/run", "/var/tmp", "/dev/shm"}, found
        assert "NoNewPrivs:\t1" in await two.run("print(open('/proc/self/status').read())")
        await two.run(
            "import os, shutil\n"
            "for place in (os.path.expanduser('~'), '/tmp', '/var/tmp', '/dev/shm'):\n"
            "    shutil.copy('/bin/sh', place + '/left'); os.chmod(place + '/left', 0o6777)\n"
        )
        for place in (str(room.run / "homes" / TWO), "/tmp", "/var/tmp", "/dev/shm"):
            assert "left" not in (os.listdir(place)), place
            assert (await one.run(f"import os; print(os.path.exists('{place}/left'))")) == "False\n"

    played(room, story)


OUT = [
    "unshare -Urm sh -c 'mount -o remount,bind,rw / && echo OUT; umount -l /tmp && echo OUT; touch /x && echo OUT'",
    "nsenter -t 1 -m echo OUT",
    "kill -9 1 && echo OUT",
    "cat /proc/1/environ && echo OUT",
    "echo 0 > /sys/fs/cgroup/pids/cgroup.procs && echo OUT",
    "mknod /tmp/disk b 254 0 && echo OUT",
    "echo '* * * * * id' | crontab - && echo OUT",
    "echo id | at now && echo OUT",
    "sudo -n id && echo OUT",
]


def test_there_is_no_way_out_of_the_namespaces_and_no_job_for_later(room):
    async def story(one, two):
        for line in OUT:
            said = await two.run(f"import subprocess; print(subprocess.getoutput({line!r}))")
            assert "OUT\n" not in said.replace("&& echo OUT", ""), (line, said)

    played(room, story)


def test_a_kernel_that_is_killed_is_told_from_one_that_computes(room):
    async def story(one, two):
        with pytest.raises(RuntimeError, match="the kernel is gone"):
            await two.run("import os; os.kill(os.getpid(), 9)")

    played(room, story)


def test_memory_is_counted_wherever_it_lies(room):
    fill = "import os; file = os.memfd_create('x'); [os.write(file, bytes(1 << 20)) for _ in range(4000)]"

    async def story(one, two):
        peak = groups(room).folders(TWO)["memory"]
        assert int((peak / "memory.limit_in_bytes").read_text()) == 1200 << 20
        with pytest.raises(RuntimeError, match="OSError"):
            await two.run("with open('/dev/shm/x', 'wb') as file:\n    for _ in range(4000): file.write(bytes(1 << 20))")
        await gone(two.run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {fill!r}])"))
        if peak.exists():
            assert int((peak / "memory.max_usage_in_bytes").read_text()) <= 1200 << 20

    played(room, story)


def test_cores_are_counted_however_short_a_worker_lives(room):
    spin = """
import os, time
while True:
    if not os.fork():
        end = time.monotonic() + 0.1
        while time.monotonic() < end: pass
        os._exit(0)
    os.waitpid(-1, os.WNOHANG)
    time.sleep(0.03)
"""

    async def story(one, two):
        await two.run(
            f"import subprocess, sys; workers = [subprocess.Popen([sys.executable, '-c', {spin!r}]) for _ in range(3)]"
        )
        folder = groups(room).folders(TWO)["cpu"]
        assert int((folder / "cpu.cfs_quota_us").read_text()) == 80_000
        (folder / "cpu.cfs_quota_us").write_text("5000")

        def throttled():
            return int(dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())["nr_throttled"]) > 3

        await asyncio.to_thread(until, throttled, (folder / "cpu.stat").read_text)
        (folder / "cpu.cfs_quota_us").write_text("80000")
        for _ in range(5):
            assert await one.run("kept + 1") == "42"
        await two.run("[worker.kill() for worker in workers]")

    played(room, story)


def test_a_fork_bomb_stays_small_and_is_ended_by_one_command(room):
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"

    async def story(one, two):
        await gone(
            two.run(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {bomb!r}], start_new_session=True); 1")
        )
        await asyncio.to_thread(until, lambda: len(groups(room).processes(TWO, uid(TWO))) > 100, room.log)
        assert int((groups(room).folders(TWO)["pids"] / "pids.current").read_text()) <= 200
        assert await one.run("kept + 1") == "42"
        told = await asyncio.to_thread(classroom, f"--run={room.run}", "--status")
        assert {line.split()[0] for line in told.stdout.splitlines()[1:]} >= {ONE, TWO}
        assert (await asyncio.to_thread(classroom, f"--run={room.run}", f"--stop={TWO}")).returncode == 0
        assert not groups(room).processes(TWO, uid(TWO))

    played(room, story)


def test_a_full_home_is_the_learners_own_trouble(room):
    async def story(one, two):
        taken = (room.run / "images" / TWO).stat().st_blocks
        with pytest.raises(RuntimeError, match="OSError"):
            await two.run("file = open('big', 'wb')\nfor _ in range(200): file.write(bytes(1 << 20))")
        assert (room.run / "images" / TWO).stat().st_blocks == taken >= (64 << 20) // 512
        assert await one.run("open('small', 'w').write('x' * 100)") == "100"
        await two.run("file.close() if not file.closed else None; import os; os.remove('big')")

    played(room, story)


THIEF = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"the thief's page")
while True:
    try: http.server.HTTPServer(("127.0.0.1", {}), Page).serve_forever()
    except OSError: pass
"""


def test_one_who_takes_the_port_of_a_server_that_ended_gets_nobody(room):
    async def story(one, two):
        port = int((await one.run("import os; print(os.environ['JUPYTERHUB_SERVICE_URL'])")).split(":")[2].split("/")[0])
        await two.run(f"import socket; beside = socket.socket(); beside.bind(('127.0.0.9', {port})); beside.listen()")
        assert listener(port) == uid(ONE)
        thief = repr(THIEF.format(port))
        await two.run(f"import subprocess, sys; thief = subprocess.Popen([sys.executable, '-c', {thief}])")
        assert (await asyncio.to_thread(classroom, f"--run={room.run}", f"--stop={ONE}")).returncode == 0
        await asyncio.to_thread(until, lambda: listener(port) == uid(TWO))
        await asyncio.to_thread(until, lambda: f"Removing user {ONE} from proxy" in room.log(), room.log)
        async with room.visitor(1) as again:
            await again.log_in()
            async with again.web.get(f"{again.server()}/lab") as page:
                assert "JupyterLab" in await page.text()
        assert "the thief" in await two.run(
            f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{port}').read())"
        )
        await two.run("thief.kill()")

    played(room, story, kept=False)


def test_no_process_of_a_learner_has_a_terminal(room):
    async def story(one, two):
        for name in (ONE, TWO):
            for pid in groups(room).processes(name, uid(name)):
                process = psutil.Process(pid)
                links = {os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
                assert process.terminal() is None and not any(link.startswith(("/dev/pts", "/dev/tty")) for link in links), (
                    links
                )

    played(room, story)


def test_groups_of_version_two_get_the_same_limits(tmp_path, monkeypatch):
    import limits

    monkeypatch.setattr(limits, "MOUNT", tmp_path)
    monkeypatch.setattr(limits, "systemd", lambda: False)
    (tmp_path / "cgroup.controllers").touch()
    made = Groups.of_this_machine("class")
    made.make("learner01", 1200, 0.8, 200)
    folder = tmp_path / "class" / "learner01"
    kept = {name: (folder / name).read_text() for name in ("memory.max", "cpu.max", "pids.max")}
    assert kept == {"memory.max": str(1200 << 20), "cpu.max": "80000 100000", "pids.max": "200"}
    assert {(place / "cgroup.subtree_control").read_text() for place in (tmp_path, folder.parent)} == {"+memory +cpu +pids"}
    (folder / "memory.current").write_text("5")
    (folder / "cpu.stat").write_text("usage_usec 2000000\n")
    assert made.use("learner01") == (5, 2.0) and made.use("learner02") == (0, 0.0)
