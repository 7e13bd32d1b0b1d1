"""Drives a real JupyterLab in a real browser: start it, open a lesson, run it, read the page back."""
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, Playwright

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
SETTINGS = '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}'


def chromium() -> str | None:
    """The path of Debian's Chromium or another one on the PATH."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
                None)


def launch(playwright: Playwright) -> Browser:
    """A headless browser of this machine."""
    return playwright.chromium.launch(executable_path=chromium(), args=FLAGS)


class Lab:
    """A JupyterLab server on loopback over a trusted copy of the notebooks, without a token, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        shutil.copytree(ROOT / "docs", folder / "docs")
        self.env = {**os.environ, "JUPYTER_DATA_DIR": str(folder / "data"), "JUPYTER_CONFIG_DIR": str(folder / "config"),
                    "IPYTHONDIR": str(folder / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
        settings = folder / "settings"
        settings.mkdir()
        (settings / "overrides.json").write_text(SETTINGS)
        books = [str(path) for path in (folder / "notebooks").rglob("*.ipynb")]
        subprocess.run([sys.executable, "-m", "jupyter", "trust", *books], env=self.env, check=True, capture_output=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = open(folder / "lab.log", "w")
        self.server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
             f"--port={self.port}", "--IdentityProvider.token=", "--ServerApp.password=",
             f"--ServerApp.root_dir={folder}", "--expose-app-in-browser",
             f"--LabApp.app_settings_dir={settings}"],
            cwd=folder, env=self.env, stdout=self.log, stderr=subprocess.STDOUT)
        self._wait()

    def _wait(self) -> None:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.url}/api", timeout=2)
                return
            except OSError:
                if self.server.poll() is not None:
                    raise RuntimeError((self.folder / "lab.log").read_text()[-2000:])
                time.sleep(0.25)
        raise RuntimeError("JupyterLab did not answer within a minute")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends the server and its kernels."""
        self.server.terminate()
        self.server.wait(30)
        self.log.close()


class Lesson:
    """One notebook open in JupyterLab, alone on the screen."""

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{lab.url}/lab/workspaces/{name[:8]}{id(page)}/tree/notebooks/{name}.ipynb?reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
                               "?.status === 'idle'", timeout=60_000)
        page.evaluate("() => { const shell = window.jupyterapp.shell; shell.collapseLeft(); shell.collapseRight(); }")

    def command(self, name: str) -> None:
        """Executes one of JupyterLab's own commands."""
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)

    def run_all(self, timeout: float = 180) -> None:
        """Run → Run All Cells, and waits until every code cell has its number."""
        before = self.counts()
        self.command("notebook:run-all-cells")
        self.wait_run(timeout, before)

    def counts(self) -> list[int | None]:
        """Execution count of each code cell, None while it is not run."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
            ".map(c => c.model.executionCount)")

    def wait_run(self, timeout: float, before: list[int | None] | None = None) -> None:
        """Waits until all code cells have been run anew."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            busy = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status")
            prompts = self.page.evaluate(
                "() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
                ".map(c => c.model.executionState || 'idle')")
            if busy == "idle" and self.counts() != before and None not in self.counts() and set(prompts) == {"idle"}:
                return
            time.sleep(0.2)
        raise TimeoutError(f"cells not run after {timeout} s: {self.counts()}")

    def cell(self, source: str) -> Locator:
        """The code cell whose source contains `source`."""
        index = self.page.evaluate(
            "s => window.jupyterapp.shell.currentWidget.content.widgets"
            ".findIndex(c => c.model.type === 'code' && c.model.sharedModel.source.includes(s))", source)
        if index < 0:
            raise LookupError(f"no cell with {source!r}")
        self.page.evaluate("k => { const n = window.jupyterapp.shell.currentWidget.content;"
                           "n.activeCellIndex = k; n.scrollToItem ? n.scrollToItem(k) : 0; }", index)
        found = self.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{index}']")
        found.scroll_into_view_if_needed()
        return found

    def output_errors(self) -> list[str]:
        """Every error output and every broken widget on the page."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
            ".flatMap(c => c.model.outputs.toJSON()).filter(o => o.output_type === 'error').map(o => o.ename)")
