"""python -m helpers.clinic FILE [--json] [--verify]: exit status 0 whole and readable, 1 damaged or refused, 2 no such file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from helpers.clinic import examine


def main(arguments: list[str] | None = None) -> int:
    """Examines a file."""
    parser = argparse.ArgumentParser("python -m helpers.clinic", description="What a checkpoint is, and what is in it.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    parser.add_argument("--verify", action="store_true", help="read the checksums of a large file too")
    given = parser.parse_args(arguments)
    read = 0

    def report(size: int) -> None:
        nonlocal read
        read += size
        if given.verify and sys.stderr.isatty():
            part = min(1, read / os.path.getsize(given.file))
            print(f"\rChecksums [{'#' * int(40 * part):40}] {part:4.0%}", end="", file=sys.stderr, flush=True)

    found = examine(given.file, verify=given.verify, report=report)
    print(end="\n" * (given.verify and sys.stderr.isatty() and read > 0), file=sys.stderr)
    words = json.dumps([asdict(one) for one in found], indent=1) if given.json else str(found)
    coding = sys.stdout.encoding or "ascii"
    print(words.encode(coding, "backslashreplace").decode(coding))
    return int(any(one.level == "bad" for one in found)) if os.path.exists(given.file) else 2


if __name__ == "__main__":
    sys.exit(main())
