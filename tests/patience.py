"""Waiting for what must become true, however slow the machine is: only a hang ends it otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

PATIENCE = 180
Value = TypeVar("Value")


def until(condition: Callable[[], Value], otherwise: Callable[[], object] = str, pause: float = 0.1) -> Value:
    """The first true value of `condition`; raises AssertionError, with what is there instead, when it hangs."""
    for _ in range(round(PATIENCE / pause)):
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"it did not come; there is: {otherwise()}")


def patient(browser: Browser, **settings: Any) -> BrowserContext:
    """A browser's context whose pages wait as long."""
    context = browser.new_context(**settings)
    context.set_default_timeout(1000 * PATIENCE)
    return context
