"""A learner's own server, read from `etc/jupyter` of the environment: what a kernel says reaches the page at once.

Jupyter Server leaves Nagle's algorithm on: of a kernel's several small messages each but the first waits for the browser's
delayed acknowledgement of the one before, 40 ms on Linux, at every change of a control.
"""

from __future__ import annotations

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """A page's connection to its kernel, whose small messages do not wait for each other."""

    async def connect(self) -> None:
        """Opens it, with Nagle's algorithm off."""
        self.websocket_handler.set_nodelay(True)
        await super().connect()


c = get_config()  # noqa: F821
c.ServerApp.kernel_websocket_connection_class = PromptConnection
