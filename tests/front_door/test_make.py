"""The README's commands: from a fresh clone, a second time, and on machines that lack something."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from patience import until
from run import layers

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if name not in ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "VENV")
    and not name.startswith(("JUPYTER", "XDG", "IPYTHON"))
} | {"PIP_NO_COMPILE": "1"}  # Python compiles what it imports; pip would compile everything, a minute of a core


def make(folder, *arguments, **environment):
    return subprocess.run([MAKE, *arguments], cwd=folder, env={**CLEAN, **environment}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def clone():
    """What a clone of this tree would hold, committed or about to be, where every user of the machine can read it."""
    with tempfile.TemporaryDirectory(prefix="front-door-", dir="/var/tmp" if os.name == "posix" else None) as name:
        os.chmod(name, 0o755)
        folder = Path(name) / "clone"
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\n")[:-1]
        for name in listed:
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        yield folder


class MadeLab:
    """`make lab` as a user starts it, on a free port: with no flags, a home of its own, and as another user at will."""

    def __init__(self, folder: Path, home: Path, user: int | None = None) -> None:
        home.mkdir()
        self.log = home / "lab.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        drop = {}
        if user is not None:
            os.chown(home, user, user)
            drop = {"user": user, "group": user, "extra_groups": []}
        with open(self.log, "w") as file:
            self.process = subprocess.Popen(
                [MAKE, "lab", f"PORT={self.port}", "BROWSER=no", f"PYTHON={Path(sys.executable).resolve()}"],
                cwd=folder,
                env={**CLEAN, "HOME": str(home)},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **drop,
            )

    def get(self, query: str) -> str | None:
        """The page at lesson 00; None until the server answers. Fails with the log if it ended before."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            url = f"http://127.0.0.1:{self.port}/lab/tree/notebooks/00_start_here.ipynb{query}"
            return urllib.request.urlopen(url).read().decode()
        except OSError:
            return None

    def token(self) -> str | None:
        """The secret that the server has written into its log; None until then."""
        found = re.search(rf":{self.port}/\S*[?&]token=(\w+)", self.log.read_text())
        return found and found[1]

    def servers(self) -> tuple[set[str], set[int]]:
        """Where the processes that make has started listen, and whose they are; one that has ended meanwhile counts no more."""
        found, users = [], set()
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found += process.net_connections("inet")
                users.add(process.uids().real)
        return {at.laddr.ip for at in found if at.status == "LISTEN" and at.laddr.port == self.port}, users

    def stop(self) -> str:
        """Ends make and the server it started; the log."""
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()
        return self.log.read_text()


def opened(folder: Path, home: Path, user: int | None = None) -> str:
    """Starts `make lab`, waits until it shows the lesson to who has the token and to nobody else, ends it; its log."""
    lab = MadeLab(folder, home, user)
    try:
        while not lab.token():
            assert lab.process.poll() is None, lab.log.read_text()[-2000:]
            time.sleep(0.5)
        assert "jupyter-config-data" in until(lambda: lab.get(f"?token={lab.token()}"), lab.log.read_text)
        assert 'type="password"' in lab.get("") and "jupyter-config-data" not in lab.get("")
        addresses, users = lab.servers()
        assert addresses and addresses <= {"127.0.0.1", "::1"}
        assert user in (None, *users)
    finally:
        said = lab.stop()
    return said


@pytest.fixture
def ordinary(request):
    """The number of a user who may do nothing; None, which is whoever runs the tests, if that is not root."""
    if os.name != "posix" or os.geteuid():
        return None
    import pwd

    request.getfixturevalue("reachable")
    return pwd.getpwnam("nobody").pw_uid


def test_make_lab_from_a_fresh_clone_and_again_as_an_ordinary_user(clone, ordinary):
    first = opened(clone, clone.parent / "first")
    assert "Successfully installed" in first and re.search(r"torch-2\.13\.0", first)
    assert first.count("Signing notebook:") == len(list((clone / "notebooks").rglob("*.ipynb")))
    assert "00_start_here.ipynb" in first
    settings = "jupyter_server_config.py"
    assert (clone / ".venv/etc/jupyter" / settings).read_bytes() == (clone / "deploy" / settings).read_bytes()
    helpers = subprocess.run(
        [clone / ".venv/bin/python", "-c", "import helpers; print(helpers.__file__)"],
        cwd="/",
        env=CLEAN,
        capture_output=True,
        text=True,
    )
    assert helpers.stdout.strip() == str(clone / "helpers" / "__init__.py")

    for path in (clone, *clone.rglob("*")) if ordinary else ():
        os.chown(path, ordinary, ordinary, follow_symlinks=False)
    again = opened(clone, clone.parent / "again", ordinary)
    assert "Requirement already" not in again and "Collecting" not in again and "pip" not in again
    assert again.count("Signing notebook:") == first.count("Signing notebook:")


def test_make_test_installs_the_rest_once(clone):
    planned = make(clone, "-n", "test", f"PYTHON={sys.executable}").stdout
    assert "-r requirements-dev.txt" in planned and planned.strip().endswith("tests/run.py")
    (clone / ".venv").mkdir(exist_ok=True)
    for stamp in (".lab", ".teach", ".dev"):
        (clone / ".venv" / stamp).touch()
    again = make(clone, "-n", "test", f"PYTHON={sys.executable}").stdout
    assert "requirements" not in again and again.strip().endswith(".venv/bin/python tests/run.py")


def test_another_torch_gets_an_environment_of_its_own(clone, tmp_path):
    venv = f"VENV={tmp_path / 'venv'}"
    assert make(clone, f"{tmp_path}/venv-torch-2.12.1/requirements.txt", "TORCH=2.12.1", venv).returncode == 0
    wanted = Path(tmp_path / "venv-torch-2.12.1" / "requirements.txt").read_text().splitlines()
    here = (ROOT / "requirements.txt").read_text().replace("torch==2.13.0", "torch==2.12.1").splitlines()
    assert wanted[: len(here)] == here and [line.partition("==")[0] for line in wanted[len(here) :]] == [
        "pytest",
        "pytest-xdist",
    ]
    planned = make(clone, "-n", "notebooks", "TORCH=2.12.1", venv, f"PYTHON={sys.executable}").stdout
    assert f"pip --disable-pip-version-check install  -r {tmp_path}/venv-torch-2.12.1/requirements.txt" in planned
    assert planned.strip().endswith(f"{tmp_path}/venv-torch-2.12.1/bin/python tests/run.py notebooks")
    plain = make(clone, "-n", "notebooks", venv, f"PYTHON={sys.executable}").stdout
    assert plain.strip().endswith(f"{tmp_path}/venv/bin/python tests/run.py notebooks") and "venv-torch" not in plain


def test_every_test_is_in_a_layer():
    called = [argument for layer in layers(ROOT / "variants").values() for call in layer.calls for argument in call]
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert str(path.parent.relative_to(ROOT)) in called, path
    assert "notebooks" in called and str(ROOT / "variants") in called
    assert {"ruff", "mypy"} <= set(called)


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
    assert re.search(r"jupyter lab --allow-root --port=9000 --no-browser +notebooks/00_start_here\.ipynb", planned)
    assert "--no-browser" not in make(clone, "-n", "lab", f"PYTHON={sys.executable}", f"VENV={tmp_path / 'v'}").stdout


def test_the_readme_names_commands_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in set(re.findall(r"make (\w+)", readme.replace("\n", " "))) - {"and", "a"}:
        assert re.search(rf"^(\w+ )*{target}( \w+)*:", (ROOT / "Makefile").read_text(), re.M), target
    for name in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme):
        assert (ROOT / name).exists(), name
