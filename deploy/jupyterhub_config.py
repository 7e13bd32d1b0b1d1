"""JupyterHub for one class on one machine. `deploy/classroom.py` starts it and sets the environment that it reads.

Options: https://jupyterhub.readthedocs.io, pages on LocalProcessSpawner, Authenticator and services.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from learners import KeyAuthenticator, LimitedSpawner

c = get_config()  # noqa: F821
run, bin_folder = Path(os.environ["CLASS_RUN"]), Path(sys.executable).parent
learners = os.environ["CLASS_LEARNERS"].split()

c.JupyterHub.bind_url = os.environ["CLASS_URL"]
c.JupyterHub.hub_port = int(os.environ["CLASS_HUB_PORT"])
c.JupyterHub.cookie_secret_file = str(run / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{run}/hub.sqlite"
c.ConfigurableHTTPProxy.command = [str(bin_folder / "configurable-http-proxy")]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['CLASS_PROXY_PORT']}"
c.ConfigurableHTTPProxy.pid_file = str(run / "proxy.pid")
c.JupyterHub.authenticator_class = KeyAuthenticator
c.Authenticator.allowed_users = set(learners)
c.KeyAuthenticator.class_password = os.environ.pop("CLASS_PASSWORD")

c.JupyterHub.spawner_class = LimitedSpawner
c.LimitedSpawner.memory = int(os.environ["CLASS_MEMORY_MB"]) * 2**20
c.LimitedSpawner.processes = 200
c.Spawner.cmd = [str(bin_folder / "jupyterhub-singleuser")]
c.Spawner.args = ["--KernelManager.transport=ipc", "--ServerApp.terminals_enabled=False"]
c.Spawner.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.Spawner.notebook_dir = "~"
c.Spawner.env_keep = ["LANG", "LC_ALL"]
c.Spawner.environment = {"PATH": f"{bin_folder}:/usr/bin:/bin", "OMP_NUM_THREADS": os.environ["CLASS_THREADS"]}
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
c.JupyterHub.concurrent_spawn_limit = 0

c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={os.environ['CLASS_IDLE_SECONDS']}"],
    },
    {
        "name": "guard",
        "command": [
            sys.executable,
            str(Path(__file__).parent / "guard.py"),
            os.environ["CLASS_MEMORY_MB"],
            os.environ["CLASS_CORES"],
            *learners,
        ],
    },
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    }
]
