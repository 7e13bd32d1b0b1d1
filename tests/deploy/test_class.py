"""A class keeps its promises: who comes in, what a learner sees, idle servers, the values for Kubernetes."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import DEPLOY, ONE, ROOT, THREE, TWO, a_visitor, classroom, hub_of, play
from patience import patient, until


def test_keys_are_random_and_kept_as_seals(room):
    assert len(set(room.keys.values())) == 3 and all(re.fullmatch(r"[a-z2-7]{16}", key) for key in room.keys.values())
    kept = (room.run / "keys.json").read_text()
    assert not any(key in kept for key in room.keys.values()) and (room.run / "keys.json").stat().st_mode & 0o777 == 0o600


def test_only_the_own_key_opens_and_all_listens_on_loopback(room):
    async def tries(name, key):
        async with room.visitor(1) as visitor:
            visitor.name, visitor.key = name, key
            await visitor.log_in()

    for name, key in ((ONE, ""), (ONE, "x"), (ONE, room.keys[TWO]), ("root", room.keys[ONE])):
        with pytest.raises(PermissionError):
            play(tries(name, key))
    assert f"Wrong key for '{ONE}'" in room.log()
    mine = [hub_of(room), *hub_of(room).children(recursive=True)]
    bound = {at.laddr.ip for process in mine for at in process.net_connections("inet") if at.status == "LISTEN"}
    assert bound and all(address.startswith("127.") for address in bound), bound


def test_a_flood_of_wrong_keys_is_slowed_and_keeps_nobody_out(room):
    async def story():
        async with room.visitor(2) as flood:
            async with flood.web.get(f"{room.hub}/hub/login") as page:
                token = re.search(r'name="_xsrf"\s+value="([^"]+)"', await page.text())[1]

            async def guess(form):
                async with flood.web.post(f"{room.hub}/hub/login", data=form | {"_xsrf": token}) as page:
                    return page.status

            many = [asyncio.create_task(guess({"username": ONE, "password": str(k)})) for k in range(90)]
            async with room.visitor(1) as one:
                await one.log_in()
            answers = await asyncio.gather(*many)
            assert set(answers) == {403, 429} and answers.count(429) > 10
            assert await guess({"password": "x"}) == 400 and await guess({}) == 400 and await guess({"username": ONE}) == 403

    play(story())


TRIES = """
import os, socket
from helpers.exercises import lesson_02
exercise = next(value for value in vars(lesson_02).values() if getattr(value, "name", "") == "Numbers and bytes")
shown = exercise.check(...).still.alt, [child.value for child in exercise.check((1, 2)).children if hasattr(child, "value")]
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
hand = "The forward pass by hand"
for words in (f"right {hand}", f"wrong {hand}", "right \\x1b[2J", "grand Numbers and bytes", ""):
    line.sendto(words.encode(), os.environ["CLASS_PROGRESS"])
print(shown)
"""


def test_how_far_a_learner_is_is_seen_if_the_instructor_asked_for_it_and_the_learner_is_told(room):
    async def story():
        two = await a_visitor(room, 2)
        assert "Your teacher sees that you tried this" in await two.run(TRIES)
        await two.__aexit__(None, None, None)

    play(story())
    said = until(lambda: (words := classroom(f"--run={room.run}", "--status").stdout).count("of") == 2 and words)
    assert said.splitlines()[-1].split() == [TWO, "01:", "1", "of", "1", "02:", "0", "of", "1"]
    assert "\x1b" not in (room.run / "progress.json").read_text()


def test_idle_servers_are_ended(room):
    from benchmarks.room import processes

    async def there():
        async with room.visitor(1) as visitor:
            await visitor.log_in()

    play(there())
    (culler,) = [child for child in hub_of(room).children() if "jupyterhub_idle_culler" in child.cmdline()]
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
    page.fill("#username_input", THREE)
    page.fill("#password_input", room.keys[THREE])
    page.click("#login_submit")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.goto(
        f"{room.hub.replace('//', f'//{THREE}.')}/user/{THREE}/lab/workspaces/own/tree/notebooks/03_inside_the_optimizer.ipynb"
    )
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
    hub, proxy = values()["hub"]["config"]["JupyterHub"], values()["proxy"]
    assert hub["subdomain_host"].startswith("https://") and hub["cookie_host_prefix_enabled"]
    assert "--host-routing" in proxy["chp"]["extraCommandLineFlags"]
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
