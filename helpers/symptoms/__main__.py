"""python -m helpers.symptoms < log.txt: where the error in a log is explained. Exit status 1 if nothing fits."""

from __future__ import annotations

import sys

from helpers.symptoms import find, title


def main() -> int:
    """Reads an error from the standard input."""
    hits = find(sys.stdin.read())
    for entry in hits:
        print(f"{entry.name}\n  {entry.advice}\n  {title(entry)}: notebooks/{entry.link}")
    if not hits:
        print("Nothing fits. notebooks/errors/README.md lists all messages.")
    return int(not hits)


if __name__ == "__main__":
    sys.exit(main())
