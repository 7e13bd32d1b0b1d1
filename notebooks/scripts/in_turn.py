"""Scripts one after the other in one group of ranks: in_turn.py FOLDER SCRIPT ..."""
import runpy
import sys
from pathlib import Path

import torch.distributed as dist

dist.init_process_group("gloo")
folder, *scripts = sys.argv[1:]
for script in scripts:
    dist.barrier()
    if dist.get_rank() == 0:
        print("---")
    sys.argv = [script, folder]
    runpy.run_path(str(Path(__file__).with_name(script)), run_name="__main__")
dist.destroy_process_group()
