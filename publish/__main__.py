"""`python -m publish site|slides|recap [FOLDER]`: what `make site`, `make slides` and `make recap` call."""

from __future__ import annotations

import sys
from pathlib import Path

from publish import folder, lessons, recap, site, slides


def main(arguments: list[str]) -> int:
    """Builds one of the three into the folder, `build/<name>` if none is given; 1 if the folder is somebody else's."""
    builders = {"site": site.build, "slides": slides.build, "recap": recap.build}
    if not 1 <= len(arguments) <= 2 or arguments[0] not in builders:
        print(
            f"Got {' '.join(arguments) or 'nothing'}; wanted one of {', '.join(builders)}, and a folder if you like.",
            file=sys.stderr,
        )
        return 2
    out = Path(arguments[1] if len(arguments) > 1 else f"build/{arguments[0]}")
    try:
        folder.check(out)
    except OSError as refused:
        print(refused, file=sys.stderr)
        return 1
    made = builders[arguments[0]](lessons.read_all(run=arguments[0] != "recap"), out)
    print(f"{len(made)} files, beginning with {made[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
