"""The README's commands: from a fresh clone, a second time, and on machines that lack something."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if name not in ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "VENV")
}


def make(folder, *arguments, **environment):
    return subprocess.run(
        [MAKE, *arguments], cwd=folder, env={**CLEAN, **environment}, capture_output=True, text=True, timeout=900
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a clone of this tree would hold, committed or about to be."""
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")[:-1]
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


class Lab:
    """`make lab` as a user starts it, on a free port, until it answers."""

    def __init__(self, folder: Path, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = log
        private = {
            "HOME": str(log.parent),
            "JUPYTER_CONFIG_DIR": str(log.parent / "config"),
            "JUPYTER_RUNTIME_DIR": str(log.parent / "runtime"),
            "JUPYTER_DATA_DIR": str(log.parent / "data"),
        }
        flags = "LAB_FLAGS=--allow-root --ip=127.0.0.1 --IdentityProvider.token="
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                [MAKE, "lab", f"PORT={self.port}", "BROWSER=no", f"PYTHON={sys.executable}", flags],
                cwd=folder,
                env={**CLEAN, **private},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> str:
        """The page at lesson 00, or the log if the server ended before it answered."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                url = f"http://127.0.0.1:{self.port}/lab/tree/notebooks/00_start_here.ipynb"
                return urllib.request.urlopen(url, timeout=5).read().decode()
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-2000:]
                time.sleep(0.5)
        raise TimeoutError(self.log.read_text()[-2000:])

    def stop(self) -> str:
        """Ends make and the server it started; the log."""
        os.killpg(self.process.pid, 15)
        self.process.wait(30)
        return self.log.read_text()


def test_make_lab_from_a_fresh_clone_and_again(clone, tmp_path):
    lab = Lab(clone, tmp_path / "first.log")
    try:
        assert "JupyterLab" in lab.wait(600)
    finally:
        first = lab.stop()
    assert "Successfully installed" in first and re.search(r"torch-2\.13\.0", first)
    assert first.count("Signing notebook:") == len(list((clone / "notebooks").rglob("*.ipynb")))
    assert "00_start_here.ipynb" in first
    helpers = subprocess.run(
        [clone / ".venv/bin/python", "-c", "import helpers; print(helpers.__file__)"],
        cwd="/",
        env=CLEAN,
        capture_output=True,
        text=True,
    )
    assert helpers.stdout.strip() == str(clone / "helpers" / "__init__.py")

    again = Lab(clone, tmp_path / "second.log")
    try:
        assert "JupyterLab" in again.wait(60)
    finally:
        second = again.stop()
    assert "Requirement already" not in second and "Collecting" not in second and "pip" not in second


def test_make_test_installs_the_rest_once(clone):
    planned = make(clone, "-n", "test", f"PYTHON={sys.executable}").stdout
    assert "-r requirements-dev.txt" in planned and planned.strip().endswith("tests/run.py")
    (clone / ".venv").mkdir(exist_ok=True)
    for stamp in (".lab", ".teach", ".dev"):
        (clone / ".venv" / stamp).touch()
    again = make(clone, "-n", "test", f"PYTHON={sys.executable}").stdout
    assert "requirements" not in again and again.strip().endswith(".venv/bin/python tests/run.py")


def test_a_missing_python_is_named(tmp_path, clone):
    done = make(clone, "lab", "PYTHON=python-of-tomorrow", f"VENV={tmp_path / 'venv'}")
    assert done.returncode and "python-of-tomorrow is missing. Install Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_an_old_python_is_named(tmp_path, clone):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(clone, "lab", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode and f"{old} is older than 3.11" in done.stderr


def test_a_python_without_venv_is_named(tmp_path, clone):
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    bare.chmod(0o755)
    done = make(clone, "lab", f"PYTHON={bare}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode and "has no venv module" in done.stderr and "apt install python3-venv" in done.stderr


def test_the_cpu_build_is_one_variable(tmp_path, clone):
    plain = make(clone, "-n", "lab", f"PYTHON={sys.executable}", f"VENV={tmp_path / 'venv'}").stdout
    asked = make(
        clone, "-n", "lab", f"PYTHON={sys.executable}", f"VENV={tmp_path / 'venv'}", "TORCH_INDEX=https://wheels.example"
    ).stdout
    assert "index-url" not in plain
    assert "--extra-index-url https://wheels.example -r requirements.txt" in asked


def test_port_and_browser_reach_jupyter(tmp_path, clone):
    planned = make(
        clone, "-n", "lab", f"PYTHON={sys.executable}", f"VENV={tmp_path / 'venv'}", "PORT=9000", "BROWSER=no"
    ).stdout
    assert re.search(r"jupyter lab --port=9000 --no-browser +notebooks/00_start_here\.ipynb", planned)
    assert "--no-browser" not in make(clone, "-n", "lab", f"PYTHON={sys.executable}", f"VENV={tmp_path / 'v'}").stdout


def test_the_readme_names_commands_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in set(re.findall(r"make (\w+)", readme.replace("\n", " "))) - {"and", "a"}:
        assert re.search(rf"^(\w+ )*{target}( \w+)*:", (ROOT / "Makefile").read_text(), re.M), target
    for name in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme):
        assert (ROOT / name).exists(), name
