"""JupyterHub for one class on one machine. `deploy/classroom.py` starts it and sets the environment that it reads.

Options: https://jupyterhub.readthedocs.io, pages on LocalProcessSpawner, Authenticator and subdomains.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from learners import Confined, KeyAuthenticator, LocalConfined
from limits import systemd

c = get_config()  # noqa: F821
room, bin_folder = json.loads(os.environ.pop("CLASS_ROOM")), Path(sys.executable).parent
run, dies_with_the_hub = Path(room["run"]), ["setpriv", "--pdeathsig=KILL"]

c.JupyterHub.bind_url = f"{'https' if room['cert'] else 'http'}://{room['bind']}:{room['port']}"
c.JupyterHub.subdomain_host = room["url"]
c.JupyterHub.cookie_host_prefix_enabled = room["url"].startswith("https")
c.JupyterHub.ssl_cert, c.JupyterHub.ssl_key = room["cert"] or "", room["key"] or ""
c.JupyterHub.hub_port = room["port"] + 1
c.JupyterHub.cookie_secret_file = str(run / "hub" / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{run}/hub/hub.sqlite"
c.ConfigurableHTTPProxy.command = [*dies_with_the_hub, "node", room["proxy"]]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{room['port'] + 2}"
c.ConfigurableHTTPProxy.pid_file = str(run / "hub" / "proxy.pid")
c.JupyterHub.authenticator_class = KeyAuthenticator
c.KeyAuthenticator.keys = str(run / "keys.json")
c.Authenticator.allowed_users = set(room["learners"])
c.Authenticator.auth_refresh_age = 2

if systemd() and room["limits"]:
    from systemdspawner import SystemdSpawner

    class Unit(Confined, SystemdSpawner):
        """A unit of systemd, with its limits; `confine.sh` in it becomes the learner."""

    c.JupyterHub.spawner_class = Unit
    c.SystemdSpawner.username_template, c.SystemdSpawner.unit_name_template = "root", f"{room['label']}.{{USERNAME}}"
    c.SystemdSpawner.unit_extra_properties = {"TasksMax": str(room["processes"]), "MemorySwapMax": "0"}
else:
    c.JupyterHub.spawner_class = LocalConfined
    c.LocalProcessSpawner.popen_kwargs = {"stdin": subprocess.DEVNULL}
c.Spawner.mem_limit, c.Spawner.cpu_limit = room["memory"] << 20, room["cores"]
c.Confined.room = room | {"server": str(bin_folder / "jupyterhub-singleuser")}
c.Spawner.args = ["--KernelManager.transport=ipc", "--ServerApp.terminals_enabled=False"]
c.Spawner.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.Spawner.notebook_dir = "~"
c.Spawner.disable_user_config = True
c.Spawner.env_keep = ["LANG", "LC_ALL"]
c.Spawner.environment = {
    "PATH": f"{bin_folder}:/usr/bin:/bin",
    "OMP_NUM_THREADS": str(room["threads"]),
    "PYTHONNOUSERSITE": "1",
    "CLASS_PROGRESS": room["progress"],
}
c.Spawner.poll_interval = 2
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
c.JupyterHub.concurrent_spawn_limit = 0

cull = [*dies_with_the_hub, sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={room['idle']}"]
may = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
c.JupyterHub.services = [{"name": "idle-culler", "command": cull}]
c.JupyterHub.load_roles = [{"name": "idle-culler", "services": ["idle-culler"], "scopes": may}]
