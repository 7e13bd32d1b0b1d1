"""The lists of packages agree, what lessons import is pinned, and Binder is told to use them."""

from __future__ import annotations

import ast
import asyncio
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from traitlets.config import PyFileConfigLoader

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("requirements.txt", "requirements-teach.txt", "requirements-class.txt", "requirements-dev.txt")
CONDA = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
ONLY_CONDA = {"python", "pip", "setuptools"}
COME_ALONG = {"numpy": "matplotlib", "contourpy": "matplotlib", "IPython": "ipywidgets"}


def pins(name="requirements.txt"):
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("-r", "#"))]
    return {requirement.name: str(requirement.specifier) for requirement in map(Requirement, lines)}


def ranges():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert listed["channels"] == ["conda-forge"]
    return dict(re.match(r"([\w-]+)(.*)", line).groups() for line in listed["dependencies"])


def test_learners_packages_are_pinned_exactly():
    for specifier in (specifier for name in LISTS for specifier in pins(name).values()):
        assert re.fullmatch(r"==[\d.]+", specifier)
    assert pins()["torch"] == "==2.13.0"


@pytest.mark.parametrize("name", pins())
def test_each_pin_lies_in_its_range(name):
    specifier = SpecifierSet(ranges()[CONDA.get(name, name)])
    assert pins()[name].removeprefix("==") in specifier
    assert {s.operator for s in specifier} == {">=", "<"}


def test_both_files_name_the_same_packages():
    assert set(ranges()) - ONLY_CONDA == {CONDA.get(name, name) for name in pins()}


def test_what_is_installed_is_what_is_pinned():
    for name, specifier in (item for listed in LISTS for item in pins(listed).items()):
        assert importlib.metadata.version(name) in SpecifierSet(specifier, prereleases=True), name


def imports(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def test_everything_that_learners_import_is_pinned():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "helpers").rglob("*.py")]
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    used = {name for source in sources for name in imports(source)} - set(sys.stdlib_module_names) - {"helpers"}
    assert {COME_ALONG.get(name, name) for name in used} <= set(pins())


def test_the_address_stands_in_one_place():
    project = re.search(r'Repository = "https://github\.com/([^"]+)"', (ROOT / "pyproject.toml").read_text()).group(1)
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")[:-1]
    named = {
        name
        for name in tracked
        if (ROOT / name).is_file() and project in (ROOT / name).read_text(encoding="utf-8", errors="ignore")
    }
    generated = {"README.md", *(name for name in tracked if re.fullmatch(r"notebooks/(\d\d_|errors/)\w+\.ipynb", name))}
    assert named == {"pyproject.toml"} | generated


def test_binder_uses_the_conda_file_and_the_post_build_script():
    done = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."], cwd=ROOT, text=True, capture_output=True
    )
    dockerfile = done.stdout + done.stderr
    assert done.returncode == 0, dockerfile[-800:]
    assert re.search(r"env update .*--file \"environment\.yml\"", dockerfile)
    assert re.search(r"^RUN \./postBuild$", dockerfile, re.M)


def test_the_post_build_script_does_what_binder_needs():
    script = (ROOT / "postBuild").read_text()
    assert (ROOT / "postBuild").stat().st_mode & 0o111 and script.startswith("#!/usr/bin/env bash\n")
    assert "--editable ." in script and "jupyter trust" in script
    assert "cp deploy/jupyter_server_config.py" in script


def test_what_a_kernel_says_reaches_the_page_at_once(monkeypatch):
    settings = PyFileConfigLoader("jupyter_server_config.py", f"{sys.prefix}/etc/jupyter").load_config()
    made = ServerApp(config=settings).kernel_websocket_connection_class
    connection, done = made.__new__(made), []

    async def connect(self):
        done.append("connected")

    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", connect)
    connection.websocket_handler = page = KernelWebsocketHandler.__new__(KernelWebsocketHandler)
    page.set_nodelay = lambda on: done.append(f"no delay: {on}")
    asyncio.run(connection.connect())
    assert done == ["no delay: True", "connected"]
