"""Scripts one after the other in the same ranks: in_turn.py FOLDER SCRIPT ..."""
import os
import runpy
import sys
from pathlib import Path

folder, *scripts = sys.argv[1:]
for turn, script in enumerate(scripts):
    os.environ["TORCHELASTIC_RESTART_COUNT"] = str(turn)
    if os.environ["RANK"] == "0":
        print("---")
    sys.argv = [script, folder]
    runpy.run_path(str(Path(__file__).with_name(script)), run_name="__main__")
