"""Runs every test, layer by layer, and says at the end what passed. `make test` calls it.

Layers run one after the other, most of them spread over two workers with one thread each; the browser and the class have
the machine to themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "notebooks"))

from beats import write_doubled  # noqa: E402

TWO = ["-n", "2", "--dist", "worksteal"]
NBVAL = ["--nbval", "--nbval-cell-timeout=300", "-n", "2", "--dist", "loadscope", "-p", "no:cacheprovider"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def layers(folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Name → pytest's arguments and the environment on top of this one."""
    return {
        "unit, exercises, template": (["tests/unit", "tests/exercises", "tests/notebooks", *TWO], ONE_THREAD),
        "notebooks": (["notebooks", *NBVAL], {}),
        "notebooks on the plainest CPU kernels": (["notebooks", *NBVAL], {"ATEN_CPU_CAPABILITY": "default", **ONE_THREAD}),
        "notebooks with every beat run twice": ([str(folder), *NBVAL, f"--rootdir={folder}", "-c", os.devnull], ONE_THREAD),
        "front door and faults": (["tests/front_door", "tests/faults", *TWO], {}),
        "class": (["tests/deploy"], {}),
        "site and slides": (["tests/publish", *TWO], ONE_THREAD),
        "browser": (["tests/browser"], {}),
    }


def main(wanted: list[str]) -> int:
    """Runs the layers whose name contains one of `wanted`, or all; 0 if all of them passed."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_doubled(ROOT / "notebooks", Path(folder))
        for name, (arguments, extra) in layers(Path(folder)).items():
            if wanted and not any(word in name for word in wanted):
                continue
            print(f"\n== {name}", flush=True)
            start = time.monotonic()
            code = subprocess.run(
                [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env={**os.environ, **extra}
            ).returncode
            results[name] = (code, time.monotonic() - start)
    print()
    for name, (code, seconds) in results.items():
        print(f"{'passed' if code == 0 else 'FAILED'}  {seconds:5.0f} s  {name}")
    return int(any(code for code, _ in results.values()) or not results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
