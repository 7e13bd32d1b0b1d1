"""The symptom finder: an error as it was pasted, or a worry in plain words, and the entry or section that explains it.

`%load_ext helpers.symptoms` in any notebook shows, under an uncaught error, where it is explained, if that is sure.
"""

from __future__ import annotations

from typing import Any

from helpers.symptoms.finder import EMPTY, LIMITS, answer, find, sure
from helpers.symptoms.table import Symptom, group, groups, index, table, title

__all__ = ["EMPTY", "LIMITS", "Symptom", "answer", "find", "group", "groups", "index", "table", "title"]


def load_ipython_extension(shell: Any) -> None:
    """Shows, under the traceback of an uncaught error, where it is explained, if that is sure. IPython's own hook."""

    def explain(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None) -> None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        entry = sure(f"{kind.__name__}: {error}")
        if entry:
            print(f"{entry.name}: {entry.advice}\nExplained in notebooks/{entry.link}")

    shell.set_custom_exc((Exception,), explain)
