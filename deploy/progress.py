"""How far each learner is, as their own notebooks tell it, if the instructor asked for that; they could tell anything."""

from __future__ import annotations

import importlib
import json
import os
import socket
import struct
import sys
import threading
from pathlib import Path

STATES, MOST = ("wrong", "right"), 1000


def lessons() -> dict[str, str]:
    """Name of an exercise → number of its lesson."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    exercise = importlib.import_module("helpers.quiz").Exercise
    names = sorted(path.stem for path in Path(sys.path[0], "helpers", "exercises").glob("lesson_*.py"))
    modules = {name[-2:]: vars(importlib.import_module(f"helpers.exercises.{name}")) for name in names}
    return {
        value.name: number for number, module in modules.items() for value in module.values() if isinstance(value, exercise)
    }


def listen(run: Path, learners: dict[str, int]) -> None:
    """From now on, what notebooks tell is kept in `run`/progress.json; whose notebook it is, the machine's kernel tells."""
    known, names = lessons(), {uid: name for name, uid in learners.items()}
    place, file = run / "progress.sock", run / "progress.json"
    place.unlink(missing_ok=True)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    line.bind(str(place))
    place.chmod(0o622)
    so_far = json.loads(file.read_text()) if file.exists() else {}

    def keep() -> None:
        while True:
            told, sent, _, _ = line.recvmsg(MOST, socket.CMSG_SPACE(12))
            state, _, exercise = told.decode("utf-8", "replace").partition(" ")
            learner = names.get(next((struct.unpack("3i", data)[1] for _, _, data in sent), -1))
            if learner and exercise in known and state in STATES:
                own = so_far.setdefault(learner, {})
                own[exercise] = max(own.get(exercise, state), state, key=STATES.index)
                fresh = file.with_suffix(".new")
                fresh.write_text(json.dumps(so_far))
                os.replace(fresh, file)

    threading.Thread(target=keep, daemon=True).start()


def table(run: Path) -> list[str]:
    """A line for each learner who tried an exercise: by lesson, how many are right of those tried."""
    file = run / "progress.json"
    if not file.exists():
        return []
    known, lines = lessons(), []
    for learner, states in sorted(json.loads(file.read_text()).items()):
        by_lesson: dict[str, list[str]] = {}
        for exercise, state in states.items():
            by_lesson.setdefault(known.get(exercise, "earlier"), []).append(state)
        cells = (f"{number}: {tried.count('right')} of {len(tried)}" for number, tried in sorted(by_lesson.items()))
        lines.append(f"{learner:22}{'   '.join(cells)}")
    return lines
