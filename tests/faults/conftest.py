"""Real processes, real signals: only where there are any."""

import sys

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]
