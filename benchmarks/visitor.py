"""A learner without a browser: logs in, opens a lesson, runs it and moves a slider, over the same web addresses."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
import uuid
from types import TracebackType
from typing import Any

import aiohttp


class Loopback(aiohttp.abc.AbstractResolver):
    """Finds every name on this machine, as browsers do with names below `localhost`."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[dict[str, Any]]:
        """This machine, whatever the name."""
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Nothing to close."""


class Visitor:
    """One learner's session at a hub; use it as an async context."""

    def __init__(self, hub: str, name: str, key: str) -> None:
        self.hub, self.name, self.key = hub, name, key
        jar, connector = aiohttp.CookieJar(unsafe=True), aiohttp.TCPConnector(resolver=Loopback(), ssl=False)
        self.web = aiohttp.ClientSession(cookie_jar=jar, connector=connector)
        self.kernel: aiohttp.ClientWebSocketResponse | None = None
        self.opened: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.kernel:
            await self.kernel.close()
        await self.web.close()

    def server(self, user: str | None = None) -> str:
        """The address of a learner's server, this one's own if `user` is not given; below a name of its own."""
        return f"{self.hub.replace('//', f'//{user or self.name}.')}/user/{user or self.name}"

    async def log_in(self, patience: float = 180) -> None:
        """Gives name and key, and waits until the learner's server answers. Raises PermissionError if they are refused."""
        async with self.web.get(f"{self.hub}/hub/login") as page:
            token = re.search(r'name="_xsrf"\s+value="([^"]+)"', await page.text())[1]
        form = {"username": self.name, "password": self.key, "_xsrf": token}
        async with self.web.post(f"{self.hub}/hub/login", data=form) as page:
            if page.status == 403 or "login_error" in await page.text():
                raise PermissionError(f"{self.name} was not let in")
        end = time.monotonic() + patience
        while time.monotonic() < end:
            async with self.web.get(f"{self.server()}/lab") as page:
                await page.read()
            if page.status == 424:
                async with self.web.get(f"{self.hub}/hub/spawn") as page:
                    await page.read()
            async with self.web.get(f"{self.server()}/api/status") as answer:
                if answer.status == 200 and answer.content_type == "application/json":
                    return
            await asyncio.sleep(0.3)
        raise TimeoutError(f"no server for {self.name} within {patience} s")

    async def call(self, method: str, address: str, user: str | None = None, **body: Any) -> tuple[int, Any]:
        """Status and JSON of a call to a learner's server, this one's own if `user` is not given."""
        base = self.server(user)
        tokens = [
            cookie.value
            for cookie in self.web.cookie_jar
            if cookie.key == "_xsrf" and cookie["path"].startswith(f"/user/{self.name}")
        ]
        headers = {"X-XSRFToken": tokens[0]} if tokens else {}
        async with self.web.request(method, f"{base}/{address}", json=body or None, headers=headers) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else await answer.text()

    async def start_kernel(self, lesson: str) -> None:
        """A kernel for that notebook, as JupyterLab starts one."""
        path = f"notebooks/{lesson}.ipynb"
        status, session = await self.call(
            "POST", "api/sessions", path=path, name=lesson, type="notebook", kernel={"name": "python3"}
        )
        if status != 201:
            raise RuntimeError(f"no kernel: {status} {session}")
        url = f"{self.server()}/api/kernels/{session['kernel']['id']}/channels"
        self.kernel = await self.web.ws_connect(url, max_msg_size=0)

    async def send(self, kind: str, content: dict[str, Any]) -> str:
        """Sends one message to the kernel, and returns its id."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "username": self.name,
            "session": self.name,
            "version": "5.3",
            "date": "2026-01-01T00:00:00Z",
        }
        await self.kernel.send_json(
            {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}
        )
        return header["msg_id"]

    async def run(self, code: str) -> str:
        """What the code prints, and its last value. Raises RuntimeError with the error's name if it fails."""
        sent, said, wrong = await self.send("execute_request", {"code": code, "silent": False, "allow_stdin": False}), [], None
        async for message in self.kernel:
            told = json.loads(message.data)
            kind, content = told["header"]["msg_type"], told["content"]
            if kind == "comm_open":
                self.opened[content["comm_id"]] = content["data"].get("state", {})
            if kind == "status" and content["execution_state"] in ("restarting", "dead"):
                raise RuntimeError("the kernel is gone")
            if told["parent_header"].get("msg_id") != sent:
                continue
            if kind == "stream":
                said.append(content["text"])
            elif kind == "execute_result":
                said.append(content["data"]["text/plain"])
            elif kind == "error":
                wrong = content["ename"]
            elif kind == "status" and content["execution_state"] == "idle":
                break
        else:
            raise RuntimeError("the kernel is gone")
        if wrong:
            raise RuntimeError(wrong)
        return "".join(said)

    async def run_lesson(self, lesson: str) -> int:
        """Runs every code cell of a lesson in the learner's own copy, and returns how many there were."""
        status, file = await self.call("GET", f"api/contents/notebooks/{lesson}.ipynb")
        if status != 200:
            raise RuntimeError(f"no lesson: {status}")
        cells = [cell["source"] for cell in file["content"]["cells"] if cell["cell_type"] == "code"]
        for source in cells:
            await self.run(source)
        return len(cells)

    async def move(self, label: str, value: float) -> float:
        """Moves the slider of that label, and returns the seconds until a new picture has come back."""
        comm = next(key for key, state in self.opened.items() if state.get("description") == label and "readout" in state)
        start = time.monotonic()
        await self.send(
            "comm_msg", {"comm_id": comm, "data": {"method": "update", "state": {"value": value}, "buffer_paths": []}}
        )
        async for message in self.kernel:
            told = json.loads(message.data)
            if told["header"]["msg_type"] == "comm_msg" and "<svg" in str(
                told["content"]["data"].get("state", {}).get("value")
            ):
                return time.monotonic() - start
        raise RuntimeError("the kernel is gone")
