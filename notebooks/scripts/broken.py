"""A rank that is slow, and then killed: broken.py FOLDER"""
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

noticed = Path(sys.argv[1]) / "noticed"
noticed.unlink(missing_ok=True)
if not dist.is_initialized():
    dist.init_process_group("gloo")
if dist.get_rank() == 1:
    while not noticed.exists():
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)

try:
    dist.monitored_barrier(timeout=timedelta(seconds=1))
except RuntimeError as error:
    print(str(error).splitlines()[0])
noticed.touch()
time.sleep(600)
