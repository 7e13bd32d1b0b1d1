"""Who may come in, and what a learner's processes may use."""

from __future__ import annotations

import hashlib
import hmac
import os
import resource
from collections.abc import Callable, Mapping

from jupyterhub.auth import Authenticator
from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Int, Unicode


def key_of(class_password: str, name: str) -> str:
    """A learner's own key: 60 bits of HMAC-SHA-256 under the class password, so that nobody can use another's name."""
    digits = hmac.new(class_password.encode(), name.encode(), hashlib.sha256).hexdigest()[:15]
    return "-".join(digits[k : k + 5] for k in (0, 5, 10))


class KeyAuthenticator(Authenticator):
    """Lets a learner in by name and key; nobody but the instructor knows the class password."""

    class_password = Unicode(config=True)

    async def authenticate(self, handler: object, data: Mapping[str, str]) -> str | None:
        """The name, if the key is this name's; None if it is not, or there is no such learner."""
        given = data.get("password", "").strip().lower().encode()
        wanted = key_of(self.class_password, data["username"]).encode()
        return data["username"] if self.class_password and hmac.compare_digest(given, wanted) else None


class LimitedSpawner(LocalProcessSpawner):
    """A server under the learner's own system user, with limits that the kernel holds, with or without systemd.

    `memory`: bytes of data that one process may have (RLIMIT_DATA); `guard.py` watches the sum. `processes`: of one
    learner (RLIMIT_NPROC). All run at a lower priority than the hub, so that it answers while they compute.
    """

    memory, processes = Int(config=True), Int(config=True)

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """What runs in the new process before the server: limits first, since only root may set them so."""
        become = super().make_preexec_fn(name)

        def limit() -> None:
            os.nice(10)
            os.umask(0o077)
            for kind, most in (
                (resource.RLIMIT_DATA, self.memory),
                (resource.RLIMIT_NPROC, self.processes),
                (resource.RLIMIT_CORE, 0),
            ):
                resource.setrlimit(kind, (most, most))
            become()

        return limit
