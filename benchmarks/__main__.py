"""Runs every benchmark, prints one table, and keeps it in `benchmarks/README.md` with the machine's description."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks import checkpoints, classroom, clinics, kernels, listing, pages, screen, setup
from benchmarks.measure import Line
from publish.chromium import chromium

README = Path(__file__).with_name("README.md")
HEAD = """# Speed

Made by `make bench`; every line compares things of one run. Machines are noisy: read the ratios. A key press ends when
the browser has painted the frame that it caused; the next comes 150 ms later.

"""


def machine() -> str:
    """What was measured on, without its name."""
    cpu = platform.processor() or platform.machine()
    memory = ""
    if Path("/proc/cpuinfo").is_file():
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        cpu = found.group(1) if found else cpu
        kibibytes = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1))
        memory = f", {kibibytes / 2**20:.0f} GiB"
    browser = subprocess.run([chromium(), "--version"], capture_output=True, text=True).stdout.split()[:2]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "jupyterlab", "ipywidgets", "matplotlib"))
    return (
        f"{date.today()}: {cpu}, {os.cpu_count()} cores{memory}, {platform.system()}, Python "
        f"{platform.python_version()}, {packages}, {' '.join(browser)}.\n"
    )


def table(lines: list[Line]) -> str:
    """The lines as Markdown."""
    rows = [f"| {x.what} | {x.ours} | {x.against} | {x.promised} | {'yes' if x.kept else '**no**'} |" for x in lines]
    return "\n".join(["| what | here | against | promised | kept |", "|---|---|---|---|---|", *rows]) + "\n"


def main() -> int:
    """0 if every promise was kept."""
    clinic, said = clinics.measure()
    lines = (
        listing.ten_thousand()
        + screen.measure()
        + pages.measure()
        + listing.four_gibibytes()
        + clinic
        + checkpoints.measure()
        + kernels.measure()
        + setup.measure()
        + classroom.measure()
    )
    text = f"{HEAD}{machine()}\n{table(lines)}{said}"
    README.write_text(text, encoding="utf-8")
    print(text)
    return int(not all(line.kept for line in lines))


if __name__ == "__main__":
    sys.exit(main())
