"""The browser that prints, measures and tests: Debian's Chromium, or another one on the PATH."""

from __future__ import annotations

import shutil

from playwright.sync_api import Browser, Playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Its path, or None if there is none."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


def launch(playwright: Playwright) -> Browser:
    """A headless browser of this machine."""
    return playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
