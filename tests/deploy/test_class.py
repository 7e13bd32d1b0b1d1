"""A class keeps its promises: who comes in, whose files are whose, what one learner can take from the others."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from conftest import DEPLOY, PREFIX, ROOT, USERS
from patience import patient, until

ONE, TWO = f"{PREFIX}01", f"{PREFIX}02"


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(DEPLOY / "classroom.py"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "CLASS_PASSWORD": "", **environment},
    )


@pytest.mark.parametrize(
    "arguments, environment, words",
    [
        (["--users=3"], {}, "Got no CLASS_PASSWORD of at least 12 characters; it has no default."),
        (["--users=3"], {"CLASS_PASSWORD": "short"}, "Got no CLASS_PASSWORD of at least 12 characters"),
        (["--users=0"], {"CLASS_PASSWORD": "x" * 12}, "Got USERS=0; wanted 1 to 300."),
        (["--users=3", "--prefix=R2;x"], {"CLASS_PASSWORD": "x" * 12}, "Got the prefix 'R2;x'; wanted"),
        (["--users=3", "--memory=10"], {"CLASS_PASSWORD": "x" * 12}, "Got 10 MB; wanted at least 1000"),
    ],
)
def test_what_can_not_be_opened_is_told_in_one_sentence(reachable, arguments, environment, words):
    done = python(*arguments, **environment)
    assert done.returncode == 1 and done.stderr.startswith(words) and done.stderr.count("\n") == 1 and not done.stdout


def test_somebody_elses_account_is_left_alone(reachable):
    subprocess.run(["useradd", "--no-create-home", "strangers01"], check=True)
    try:
        done = python("--users=1", "--prefix=strangers", CLASS_PASSWORD="x" * 12)
        assert "There is a user strangers01 that no class made" in done.stderr
        assert python("--users=1", "--prefix=strangers", "--remove").returncode == 0 and pwd.getpwnam("strangers01")
    finally:
        subprocess.run(["userdel", "strangers01"], check=True)


def test_keys_are_told_apart_and_need_the_password():
    from learners import key_of

    keys = {key_of(password, name) for password in ("a" * 12, "b" * 12) for name in ("learner01", "learner02")}
    assert len(keys) == 4 and all(re.fullmatch(r"[0-9a-f]{5}(-[0-9a-f]{5}){2}", key) for key in keys)


def test_only_the_own_key_opens_and_all_listens_on_loopback(room):
    from visitor import Visitor

    async def tries(name, key):
        async with Visitor(room.hub, name, key) as visitor:
            await visitor.log_in()

    for name, key in (
        (ONE, ""),
        (ONE, "x"),
        (ONE, room.keys[TWO]),
        ("root", room.keys[ONE]),
        (ONE, room.environment["CLASS_PASSWORD"]),
    ):
        with pytest.raises(PermissionError):
            asyncio.run(tries(name, key))
    mine = [
        process for process in psutil.process_iter() if process.pid == room.process.pid or process.ppid() == room.process.pid
    ]
    bound = {at.laddr.ip for process in mine for at in process.net_connections("inet") if at.status == "LISTEN"}
    assert bound and bound <= {"127.0.0.1", "::1"}


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


async def a_visitor(room, number):
    visitor = room.visitor(number)
    await visitor.log_in()
    await visitor.start_kernel("02_read_the_state_dict")
    return visitor


def test_files_secrets_and_processes_of_others_are_closed(room):
    async def story():
        one, two = await a_visitor(room, 1), await a_visitor(room, 2)
        try:
            await one.run("import pathlib; pathlib.Path('mine.txt').write_text('x'); kept = 41")
            pid = await one.run("import os; print(os.getpid())")
            home, other = pwd.getpwnam(ONE).pw_dir, pwd.getpwnam(TWO).pw_dir
            hub = room.process.pid
            closed = [
                f"{home}/notebooks/02_read_the_state_dict.ipynb",
                f"{home}/notebooks/mine.txt",
                f"{room.run}/keys.txt",
                f"{room.run}/hub.sqlite",
                f"{room.run}/cookie_secret",
                f"/proc/{hub}/environ",
                f"/proc/{pid.strip()}/environ",
            ]
            for path in closed:
                assert await two.run(STEAL.format(f"print(tried(lambda: open({path!r}).read()))")) == "PermissionError\n", path
            for work in (
                f"os.listdir({home!r})",
                f"os.kill({pid.strip()}, signal.SIGKILL)",
                f"os.kill({hub}, signal.SIGKILL)",
                f"open({home + '/notebooks/x'!r}, 'w')",
                f"open({str(ROOT / 'notebooks' / 'x')!r}, 'w')",
                f"open({str(ROOT / 'helpers' / 'lesson.py')!r}, 'a')",
            ):
                assert await two.run(STEAL.format(f"print(tried(lambda: {work}))")) == "PermissionError\n", work
            seen = await two.run("import os; print(os.getuid(), sorted(os.environ), os.environ.get('HOME'))")
            assert seen.startswith(str(pwd.getpwnam(TWO).pw_uid)) and "CLASS_" not in seen and seen.strip().endswith(other)
            assert await two.run("open('notebooks/x' if os.path.isdir('notebooks') else 'x', 'w').write('mine')") == "4"
            for path in ("api/contents/notebooks", "api/sessions", "api/kernels"):
                status, told = await two.call("GET", path, user=ONE)
                assert status in (403, 404) or not isinstance(told, (dict, list)), (path, status)
            assert await one.run("kept + 1") == "42"
        finally:
            await one.__aexit__(None, None, None)
            await two.__aexit__(None, None, None)

    asyncio.run(story())


def spinning():
    """The processes of the second learner that keep a core busy."""
    found = [process for process in psutil.process_iter(["username", "cmdline"]) if process.info["username"] == TWO]
    return [process for process in found if "while True: pass" in (process.info["cmdline"] or [])]


def held():
    """Whether they all may run on one core only, the same."""
    return len({core for process in spinning() for core in process.cpu_affinity()}) == 1


async def becomes(condition, otherwise):
    """`until` for a story: its sockets are served meanwhile."""
    await asyncio.to_thread(until, condition, otherwise)


@contextmanager
def impatient_guard(room):
    """A second guard, for the second learner, who is held above a twentieth of a core.

    While every core of the machine is busy, nobody comes above the class's own limit.
    """
    (own,) = [child for child in psutil.Process(room.process.pid).children() if str(DEPLOY / "guard.py") in child.cmdline()]
    assert own.cmdline()[-2 - USERS :][:2] == ["1200", "1.5"]
    guard = subprocess.Popen([sys.executable, str(DEPLOY / "guard.py"), "1200", "0.05", TWO])
    try:
        yield
    finally:
        guard.terminate()
        guard.wait()


def test_one_who_eats_memory_or_time_does_not_take_the_others_down(room):
    eat = "import subprocess, sys; eaters = [subprocess.Popen([sys.executable, '-c', {!r}]) for _ in range({})]"
    fill = "x = bytearray(600 << 20)\nfor k in range(0, len(x), 4096): x[k] = 1\nimport signal; signal.pause()"

    async def story():
        one, two = await a_visitor(room, 1), await a_visitor(room, 2)
        try:
            await one.run("kept = 41")
            assert await two.run("import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20)") == "1200\n"
            with pytest.raises(RuntimeError, match="ValueError|PermissionError"):
                await two.run("resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))")
            with pytest.raises(RuntimeError, match="MemoryError"):
                await two.run("x = bytearray(2 << 30)")
            await two.run(eat.format(fill, 4))
            await becomes(lambda: f"{TWO} was above 1200 MB" in room.log(), room.log)
            assert await one.run("kept + 1") == "42"
            await two.run("[e.kill() for e in eaters]; " + eat.format("while True: pass", 6))
            for _ in range(10):
                async with one.web.get(f"{room.hub}/hub/health") as answer:
                    assert answer.status == 200
                assert await one.run("kept + 1") == "42"
            with impatient_guard(room):
                await becomes(lambda: len(spinning()) == 6 and {process.nice() for process in spinning()} == {19}, spinning)
                assert await one.run("import os; print(os.nice(0))") == "10\n"
                with pytest.raises(RuntimeError, match="PermissionError"):
                    await two.run("import os; os.setpriority(os.PRIO_PROCESS, eaters[0].pid, 0)")
                await becomes(held, spinning)
                await two.run("[os.sched_setaffinity(e.pid, range(os.cpu_count())) for e in eaters]")
                await becomes(held, spinning)
                await two.run("[e.kill() for e in eaters]")
                server = psutil.Process(int(await two.run("print(os.getppid())")))
                await becomes(lambda: server.cpu_affinity() == psutil.Process().cpu_affinity(), server.cpu_affinity)
        finally:
            await one.__aexit__(None, None, None)
            await two.__aexit__(None, None, None)

    asyncio.run(story())


def test_idle_servers_are_ended(room):
    from measure import processes

    async def there():
        async with room.visitor(1) as visitor:
            await visitor.log_in()

    asyncio.run(there())
    (culler,) = [child for child in psutil.Process(room.process.pid).children() if "jupyterhub_idle_culler" in child.cmdline()]
    assert "--timeout=3600" in culler.cmdline() and processes(ONE)
    impatient = subprocess.Popen(
        [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=1", "--cull-every=1"],
        env=culler.environ(),
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: impatient.poll() is None and not processes(ONE), room.log, pause=0.5)
    finally:
        impatient.terminate()
        impatient.wait()


def test_a_learner_in_a_real_browser_moves_a_slider(room, browser):
    page = patient(browser, viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{room.hub}/hub/login")
    page.fill("#username_input", f"{PREFIX}03")
    page.fill("#password_input", room.keys[f"{PREFIX}03"])
    page.click("#login_submit")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.goto(f"{room.hub}/user/{PREFIX}03/lab/workspaces/own/tree/notebooks/03_inside_the_optimizer.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-OutputArea img[alt]")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    page.click(
        ".jp-NotebookPanel-toolbar [data-jp-item-name='restart-and-run'] jp-button, "
        ".jp-NotebookPanel-toolbar [data-jp-item-name='restart-and-run'] button"
    )
    page.click(".jp-Dialog button.jp-mod-accept")
    handle = page.locator(".jp-OutputArea .noUi-handle").first
    handle.wait_for()
    shown = page.locator(".jp-OutputArea svg[role=img]:visible > title").first
    before = shown.text_content()
    handle.press("End")
    page.wait_for_function(
        "was => { const now = [...document.querySelectorAll('.jp-OutputArea svg[role=img]')]"
        ".find(e => e.clientHeight)?.querySelector('title').textContent; return now && now !== was; }",
        arg=before,
    )
    assert shown.text_content().startswith("Step 60")
    page.context.close()


def values():
    import yaml

    return yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text(encoding="utf-8"))


def test_values_for_kubernetes_say_what_the_readme_says():
    user = values()["singleuser"]
    assert user["memory"]["limit"] and user["cpu"]["limit"] and user["image"]["name"] and values()["cull"]["enabled"]
    assert values()["proxy"]["service"]["type"] == "ClusterIP" and "password" not in str(values()).lower()


def test_a_home_without_lessons_gets_them_and_keeps_what_was_changed(tmp_path):
    shell, flag, line = values()["singleuser"]["lifecycleHooks"]["postStart"]["exec"]["command"]
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "LANG": "C.UTF-8"}
    lesson = tmp_path / "notebooks" / "00_start_here.ipynb"
    for _ in range(2):
        done = subprocess.run(
            [shell, flag, line.replace("/srv/lessons", str(ROOT))], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "docs" / "teaching.md").is_file() and "already signed" in subprocess.run(
            ["jupyter", "trust", str(lesson)], env=environment, capture_output=True, text=True
        ).stdout.lower()
        assert lesson.read_text().endswith("\n")
        lesson.write_text(lesson.read_text() + "\n")
    assert lesson.read_text().endswith("\n\n")
