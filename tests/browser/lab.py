"""Drives a real JupyterLab in a real browser: start it, open a lesson, run it, read the page back."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Locator, Page

from patience import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}'


NAME_OF = """element => {
    if (element.matches('.noUi-handle')) return element.closest('.widget-slider').querySelector('label').textContent;
    if (element.matches('input[type=checkbox]')) return element.closest('label').textContent.trim();
    if (element.matches('input[type=text], .widget-textarea textarea'))
        return element.closest('.widget-text, .widget-textarea').querySelector('label').textContent;
    return element.textContent.trim();
}"""
NAMES = """cell => [...cell.querySelectorAll('.jp-OutputArea-output :is(.noUi-handle, input:not([type=number]), button)')]
    .filter(e => !e.closest('.widget-play') && e.textContent.trim() !== 'Play').map(NAME_OF)""".replace("NAME_OF", NAME_OF)


LOOKS = """where => {
    const seen = new Map(), under = new Map();
    const ground = e => { if (!e) return ''; if (!under.has(e)) { const style = getComputedStyle(e);
        under.set(e, [ground(e.parentElement), style.backgroundColor, style.backgroundImage, style.opacity].join()); }
        return under.get(e); };
    for (const e of document.querySelectorAll(where.split(',').map(w => `${w}, ${w} *`).join()))
        if (!e.closest('svg') && e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) {
            const {color, fontSize, fontWeight} = getComputedStyle(e), look = [color, fontSize, fontWeight, ground(e)].join();
            if (!seen.has(look)) seen.set(look, e); }
    return [...seen.values()]; }"""
AXE = """async ([where, all]) => {
    const brief = {preload: false, resultTypes: ['violations']}, looks = (LOOKS)(where);
    const seen = looks.length ? await axe.run({include: looks}, {...brief, runOnly: ['color-contrast']}) : {violations: []};
    if (!all) return seen.violations;
    const others = {...brief, rules: {'color-contrast': {enabled: false}}};
    const more = await axe.run({include: where, exclude: ['svg *']}, others);
    return [...seen.violations, ...more.violations]; }""".replace("LOOKS", LOOKS)


def serious(page: Page, where: str = "body", rules: bool = True) -> dict[str, str]:
    """What axe-core calls serious or critical below the selector: rule → the elements that break it.

    Its rule of contrast is asked once for each look of a text: colours, size, weight, what lies under it. Others if `rules`.
    """
    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    return {
        rule["id"]: " ".join(node["html"] for node in rule["nodes"])
        for rule in page.evaluate(AXE, [where, rules])
        if rule["impact"] in ("serious", "critical")
    }


class JupyterLab:
    """A JupyterLab server on loopback over a trusted copy of the notebooks, without a token, in `folder`.

    Its kernels talk through files: of their five ports another process may take one before they do, and if it is that of the
    outputs, the page says "connecting" for ever. The path of such a file has about 100 bytes at most.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = os.name == "posix"
        self.sockets = tempfile.TemporaryDirectory(dir="/tmp" if files else None)
        shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        shutil.copytree(ROOT / "docs", folder / "docs")
        self.env = {
            **os.environ,
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_RUNTIME_DIR": self.sockets.name,
            "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTER_PLATFORM_DIRS": "1",
        }
        settings = folder / "settings"
        settings.mkdir()
        (settings / "overrides.json").write_text(SETTINGS)
        books = [str(path) for path in (folder / "notebooks").rglob("*.ipynb")]
        subprocess.run([sys.executable, "-m", "jupyter", "trust", *books], env=self.env, check=True, capture_output=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [
            *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
            *("--IdentityProvider.token=", "--ServerApp.password=", "--expose-app-in-browser"),
            "--ServerApp.tornado_settings={'page_config_data': {'buildCheck': False, 'buildAvailable': False}}",
            *(f"--port={self.port}", f"--ServerApp.root_dir={folder}", f"--LabApp.app_settings_dir={settings}"),
            f"--KernelManager.transport={'ipc' if files else 'tcp'}",
        ]
        with open(folder / "lab.log", "w") as log:
            self.server = subprocess.Popen(command, cwd=folder, env=self.env, stdout=log, stderr=subprocess.STDOUT)
        until(self._answers, (folder / "lab.log").read_text)

    def _answers(self) -> bool:
        if self.server.poll() is not None:
            raise RuntimeError((self.folder / "lab.log").read_text()[-2000:])
        try:
            return urllib.request.urlopen(f"{self.url}/api").status == 200
        except OSError:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends the server and its kernels."""
        self.server.terminate()
        self.server.wait()
        self.sockets.cleanup()


class OpenNotebook:
    """One notebook open in JupyterLab, alone on the screen; the page may be one on which another was closed."""

    def __init__(self, page: Page, lab: JupyterLab, name: str) -> None:
        self.page = page
        page.set_default_timeout(1000 * PATIENCE)
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        if page.url.startswith(lab.url):
            page.evaluate(
                "path => { window.jupyterapp.commands.execute('docmanager:open', {path}); }", f"notebooks/{name}.ipynb"
            )
        else:
            page.goto(f"{lab.url}/lab/workspaces/{name[-8:]}{id(page)}/tree/notebooks/{name}.ipynb?reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        page.evaluate("() => { const shell = window.jupyterapp.shell; shell.collapseLeft(); shell.collapseRight(); }")

    def command(self, name: str) -> None:
        """Executes one of JupyterLab's own commands."""
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)

    def run_all(self) -> None:
        """Run → Run All Cells, and waits until every code cell has been run."""
        if not self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')"):
            raise RuntimeError(f"running all cells stopped: {self.output_errors()}")

    def restart_and_run_to(self, cell: Locator) -> None:
        """Kernel → Restart Kernel and Run up to Selected Cell, with its question answered by the Enter key."""
        self.command("notebook:clear-all-cell-outputs")
        cell.focus()
        self.page.keyboard.press("Escape")
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:restart-and-run-to-selected'); }")
        self.page.wait_for_selector(".jp-Dialog button.jp-mod-accept")
        self.page.keyboard.press("Enter")
        last = "cell => window.jupyterapp.shell.currentWidget.content.widgets.find(c => c.node === cell).model.executionCount"
        until(lambda: cell.evaluate(last) and self.kernel() == "idle", self.counts)

    def kernel(self) -> str:
        """What the kernel does: idle, busy, restarting or another of Jupyter's words."""
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status")

    def counts(self) -> list[int | None]:
        """Execution count of each code cell, None while it is not run."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
            ".map(c => c.model.executionCount)"
        )

    def number_of(self, source: str) -> int:
        """Which code cell, counted from 0, is the first whose source contains `source`. Raises LookupError if none is."""
        number = self.page.evaluate(
            "s => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
            ".findIndex(c => c.model.sharedModel.source.includes(s))",
            source,
        )
        if number < 0:
            raise LookupError(f"no cell with {source!r}")
        return number

    def cell(self, source: str) -> Locator:
        """The code cell whose source contains `source`, scrolled to."""
        return self.code_cell(self.number_of(source))

    def code_cell(self, number: int) -> Locator:
        """Code cell `number`, counted from 0, made the active one and scrolled to."""
        index = self.page.evaluate(
            "k => { const book = window.jupyterapp.shell.currentWidget.content;"
            "const code = book.widgets.filter(c => c.model.type === 'code')[k];"
            "book.activeCellIndex = book.widgets.indexOf(code); book.scrollToItem(book.activeCellIndex);"
            "return book.activeCellIndex; }",
            number,
        )
        found = self.page.locator(f".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell[data-windowed-list-index='{index}']")
        found.wait_for(state="attached")
        return found

    def rewrite(self, source: str, code: str) -> None:
        """Goes into the cell by Enter, replaces all its text, and runs it by Control+Enter."""
        self.cell(source).focus()
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Control+Enter")

    def controls(self, cell: Locator) -> list[str]:
        """The names of all controls in a cell's output, but for Play's."""
        return cell.evaluate(NAMES)

    def press(self, cell: Locator, name: str, *keys: str) -> None:
        """Tabs from the cell to its control called `name`, and presses the keys there."""
        self._tab_to(cell, "name => (" + NAME_OF + ")(document.activeElement) === name", name)
        for key in keys:
            self.page.keyboard.press(key)

    def number(self, cell: Locator, name: str, keys: str) -> None:
        """Tabs from the cell to its number field called `name`, and types there."""
        self._tab_to(
            cell,
            "name => document.activeElement.type === 'number'&& document.activeElement.labels[0].textContent === name",
            name,
        )
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(keys)
        self.page.keyboard.press("Enter")

    def _tab_to(self, cell: Locator, there: str, wanted: str) -> None:
        """By Tab alone: on from the control of the cell that has the focus, else from the cell, and once past its end again."""
        node = cell.element_handle()
        node.wait_for_selector(".jp-OutputArea-output .jupyter-widgets", state="attached")
        inside = "cell.querySelector('.jp-OutputArea').contains(document.activeElement)"
        read = f"(cell, wanted) => {inside} ? ({there})(wanted) ? 'there' : 'inside' : 'outside'"
        begin = f"(cell, wanted) => {{ const at = ({read})(cell, wanted); if (at === 'outside') cell.focus(); return at; }}"
        place = node.evaluate(begin, wanted)
        for _ in range(120):
            if place == "there":
                return
            self.page.keyboard.press("Tab")
            before, place = place, node.evaluate(read, wanted)
            if place == "outside" and before != "outside":
                node.evaluate("cell => cell.focus()")
        raise LookupError(f"Tab does not lead to {wanted!r}; the cell has {self.controls(cell)}")

    def wait_text(self, cell: Locator, selector: str, words: str) -> None:
        """Waits until the first element of `selector` in the cell's output says exactly `words`."""
        node, where = cell.element_handle(), f".jp-OutputArea-output {selector}"
        read = "(cell, where) => cell.querySelector(where)?.textContent.replaceAll('\\n', '').trim()"

        def seen() -> str | None:
            return node.evaluate(read, where)

        until(lambda: seen() == words, lambda: f"{seen()!r} in place of {words!r}", pause=0.03)

    def wait_title(self, cell: Locator, words: str) -> None:
        """Waits until the picture that can be seen in the cell's output has exactly the title `words`."""

        def seen() -> str | None:
            titles = cell.locator(".jp-OutputArea-output svg:visible > title")
            return next(iter(titles.evaluate_all("all => all.slice(0, 1).map(e => e.textContent)")), None)

        until(lambda: seen() == words, lambda: f"{seen()!r} in place of {words!r}", pause=0.03)

    def output_errors(self) -> list[str]:
        """The name of every error output, and the text of every broken widget on the page."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
            ".flatMap(c => c.model.outputs.toJSON()).filter(o => o.output_type === 'error').map(o => o.ename)"
            ".concat([...document.querySelectorAll('.jupyter-widgets-error-widget')].map(e => e.textContent))"
        )

    def show(self, label: str) -> None:
        """Brings the open notebook with that file name to the front, also from one that is still opening."""
        kept: list[bool] = []

        def stays() -> bool:
            front = self.page.evaluate(
                "label => { const shell = window.jupyterapp.shell, was = shell.currentWidget?.title.label;"
                "shell.activateById([...shell.widgets('main')].find(w => w.title.label === label).id); return was; }",
                label,
            )
            kept.append(front == label)
            return all(kept[-4:]) and len(kept) >= 4

        until(stays, lambda: f"something else in front of {label}", pause=0.25)

    def shut_down(self) -> None:
        """Ends this notebook's kernel, and closes it as it is."""
        self.page.evaluate(
            "async () => { const book = window.jupyterapp.shell.currentWidget; await book.sessionContext.shutdown();"
            "book.context.model.dirty = false; book.close(); }"
        )
        self.page.wait_for_selector(".jp-NotebookPanel", state="detached")
