"""A class starts or says why not, before it changes anything; and when it ends, nothing of a learner goes on."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conftest import DEPLOY, ONE, PREFIX, TWO, a_visitor, classroom, hub_of, play, uid
from patience import until

NOWHERE = "--run=/var/lib/class-that-is-not"
ROOM = "Whoever listens to a room needs a name for each learner, and TLS."


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--users=0"], "Got USERS=0 (number of learners); wanted 1 to 300."),
        (["--users=3", "--prefix=R2;x"], "Got the prefix 'R2;x'; wanted"),
        (["--users=3", "--memory=10"], "Got MEMORY=10"),
        (["--users=3", "--port=99999999"], "Got PORT=99999999"),
        (["--users=3", "--cores=-1"], "Got CORES=-1.0"),
        (["--users=3", "--threads=0"], "Got THREADS=0"),
        (["--users=3", "--disk=900000"], "3 homes of 900000 MB do not fit into"),
        (["--users=3", "--bind=0.0.0.0"], ROOM),
        (["--users=3", "--bind=0.0.0.0", "--domain=class.example"], ROOM),
        (["--users=3", "--bind=0.0.0.0", "--behind-tls=caddy"], ROOM),
        (["--users=3", "--domain=class.example", "--cert=/no.pem", "--key=/no.pem"], "There is no file /no.pem."),
        (["--users=3", "--run=/tmp/class"], "The class's folder lies in /tmp, which not only root can change."),
        (["--users=3", "--run=/usr/lib"], "/usr/lib holds what no class made."),
        (["--stop=classtest77"], "There is no classtest77 in"),
        (["--new-key=root"], "There is no root in"),
        (["--status"], "There is no class in"),
    ],
)
def test_what_can_not_be_is_told_before_anything_changes(reachable, arguments, words):
    before = {user.pw_name for user in pwd.getpwall()}
    done = classroom(NOWHERE, *arguments)
    assert done.returncode == 1 and done.stderr.startswith(words) and not done.stdout and "Traceback" not in done.stderr
    assert {user.pw_name for user in pwd.getpwall()} == before and not Path(NOWHERE.split("=")[1]).exists()


def test_a_class_that_learners_would_not_see_is_told(tmp_path):
    """Each learner has a /tmp of their own, so nothing of the class may lie in this one."""
    copy = shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("node_modules"))
    command = [sys.executable, str(copy / "classroom.py"), NOWHERE, "--users=1", "--disk=32"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (
        done.returncode == 1 and done.stderr == f"Learners can not reach {tmp_path}: each has another /tmp. Clone into /srv.\n"
    )


def test_a_port_in_use_is_told(reachable):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = classroom(NOWHERE, "--users=1", "--disk=32", f"--port={taken.getsockname()[1]}")
    assert done.returncode == 1 and "is in use. Choose another CLASS_PORT" in done.stderr


def test_somebody_elses_account_is_left_alone(reachable):
    subprocess.run(["useradd", "--no-create-home", "strangers01"], check=True)
    try:
        done = classroom(NOWHERE, "--users=1", "--disk=32", "--prefix=strangers")
        assert "There is a user strangers01 that no class in" in done.stderr
        assert classroom(NOWHERE, "--prefix=strangers", "--remove").returncode == 0 and pwd.getpwnam("strangers01")
    finally:
        subprocess.run(["userdel", "strangers01"], check=True)


def test_a_second_class_with_the_same_folder_is_refused(room):
    for does in (["--users=1", "--disk=32", "--port=18300"], ["--remove"]):
        done = classroom(f"--run={room.run}", *does)
        assert done.returncode == 1 and done.stderr.startswith(f"A class is open in {room.run}.")


BAD = """
import os, pathlib, shutil, subprocess, sys, textwrap
home = pathlib.Path.home()
mark = "import os, pathlib; pathlib.Path({!r}).joinpath(f'ran-{{os.getuid()}}-{{os.isatty(0)}}').touch()".format(str(home))
for place in (home / ".jupyter", home / ".local/etc/jupyter", home / ".ipython/profile_default/startup"):
    place.mkdir(parents=True, exist_ok=True)
    for name in ("jupyter_config.py", "jupyter_server_config.py", "jupyter_notebook_config.py", "00.py"):
        (place / name).write_text(mark)
(home / "jupyter_server_config.py").write_text(mark)
shutil.rmtree(home / "docs"); (home / "docs").symlink_to({run!r})
(home / "notebooks/04_save_and_load.ipynb").write_text("broken")
(home / "notebooks/05_why_not_the_whole_model.ipynb").unlink()
(home / "notebooks/solutions").rename(home / "mine"); (home / "notebooks/solutions").symlink_to("/etc")
(home / "gone").symlink_to("/etc/passwd")
stay = [subprocess.Popen(["sleep", "100000"], start_new_session=True) for _ in range(3)]
print(os.environ["JUPYTERHUB_API_TOKEN"])
"""


async def known(room, token):
    """Whether the hub still takes that token."""
    async with room.visitor(1) as visitor:
        headers = {"Authorization": f"token {token}"}
        async with visitor.web.get(f"http://127.0.0.1:{room.port}/hub/api/user", headers=headers) as answer:
            return answer.status == 200


def test_after_the_end_nothing_goes_on_and_the_next_start_is_not_kept_from(room):
    async def bad():
        two = await a_visitor(room, 2)
        token = (await two.run(BAD.replace("{run!r}", repr(str(room.run / "lessons"))))).strip()
        assert await known(room, token)
        await two.__aexit__(None, None, None)
        return token

    async def better():
        two = await a_visitor(room, 2)
        ran = await two.run("import pathlib; print(sorted(p.name for p in pathlib.Path.home().glob('ran-*')))")
        assert set(eval(ran)) <= {f"ran-{uid(TWO)}-False"}
        assert (
            await two.run("print(pathlib.Path.home().joinpath('notebooks/05_why_not_the_whole_model.ipynb').exists())")
            == "True\n"
        )
        await two.__aexit__(None, None, None)

    token = play(bad())
    room.end()
    assert room.process.returncode == 0 and not room.left
    assert str(room.run) not in Path("/proc/mounts").read_text() and not list((room.run / "homes" / TWO).iterdir())
    room.open()
    play(better())
    assert not play(known(room, token)), "a token of the last class is still taken"
    assert len(list((room.run / "lessons").iterdir())) == 2


@pytest.mark.parametrize("whom", ["hub", "class"])
def test_after_a_crash_nothing_goes_on_and_the_next_start_works(room, whom):
    from benchmarks.room import processes

    async def busy():
        one = await a_visitor(room, 1)
        await one.run(
            "import ctypes, subprocess\n"
            "clear = lambda: ctypes.CDLL(None).prctl(1, 0)\n"
            "stay = subprocess.Popen(['sleep', '100000'], start_new_session=True, preexec_fn=clear)"
        )
        await one.__aexit__(None, None, None)

    play(busy())
    assert processes(ONE)
    hub = hub_of(room)
    family = hub.children(recursive=True)
    (hub if whom == "hub" else psutil.Process(room.process.pid)).kill()
    until(lambda: not processes(PREFIX), lambda: processes(PREFIX))
    until(lambda: not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE], lambda: family)
    assert room.process.wait() != 0
    until(lambda: not hub.is_running() or hub.status() == psutil.STATUS_ZOMBIE)
    room.open()


def test_a_new_key_ends_the_old_one_without_a_restart(room):
    async def story():
        one = await a_visitor(room, 1)
        done = await asyncio.to_thread(classroom, f"--run={room.run}", f"--new-key={ONE}")
        old, room.keys[ONE] = room.keys[ONE], done.stdout.split()[1]
        assert done.stdout.split()[0] == ONE and old != room.keys[ONE]

        async def out():
            async with one.web.get(f"{one.hub}/hub/home") as page:
                return "/hub/login" in str(page.url)

        for _ in range(200):
            if await out():
                break
            await asyncio.sleep(0.3)
        assert await out(), "the session of the old key goes on"
        one.key = old
        with pytest.raises(PermissionError):
            await one.log_in()
        await one.__aexit__(None, None, None)
        async with room.visitor(1) as again:
            await again.log_in()

    play(story())


def test_a_user_id_that_owns_something_is_not_given_to_a_learner():
    import accounts

    first = next(accounts.new_ids())
    file = Path("/var/tmp/classtest-of-nobody")
    file.touch()
    try:
        os.chown(file, first, first)
        assert next(accounts.new_ids()) > first
    finally:
        file.unlink()


def test_a_start_that_was_stopped_goes_on_and_removing_takes_all_and_follows_no_link(reachable):
    """Control-C before the class is open; then files of a learner's where everybody may write, and a link in the home."""
    from benchmarks.room import OpenClass

    opened = OpenClass(1, "classgone", 18260, "--disk=32")
    process = subprocess.Popen(opened.start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: opened.run.exists())
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate()[1]
    other, left = Path("/var/lib/classgone-other"), Path("/tmp/classgone-left")
    try:
        with opened:
            for folder in (other, left):
                folder.mkdir()
                (folder / "file").write_bytes(b"x")
            for path in (left, left / "file"):
                os.chown(path, uid("classgone01"), uid("classgone01"))
            (left / "file").chmod(0o4777)
            (opened.run / "homes" / "classgone01" / "link").symlink_to(other)
        assert (other / "file").exists() and not left.exists() and not opened.run.exists()
        assert not list(Path("/run").glob(f"*{opened.run.parent.name}*"))
        with pytest.raises(KeyError):
            uid("classgone01")
    finally:
        shutil.rmtree(other, ignore_errors=True)
        shutil.rmtree(left, ignore_errors=True)
