"""A learner whose server shows any page they like, in another learner's browser: what its script can reach.

The proxy is told by the test, as root, to lead the first learner's name to a program of the test: more than any learner
can do to their own server.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import threading
import urllib.request
from contextlib import contextmanager
from typing import ClassVar

import psutil
import pytest

from conftest import hub_of, play
from patience import patient, until

PREFIX = "classtls"
ONE, TWO = f"{PREFIX}01", f"{PREFIX}02"
ATTACK = """async ([hub, victim, name]) => {
  const told = {};
  const tried = async (what, work) => {
    try { told[what] = String(await work()); }
    catch (error) { told[what] = 'refused'; }
  };
  const mine = {credentials: 'include'};
  const post = {...mine, method: 'POST', mode: 'no-cors', body: '{"name": "python3"}', headers: {'Content-Type': 'text/plain'}};
  told.socket = 'refused';
  new WebSocket(`${victim}/api/events/subscribe`.replace('http', 'ws')).onopen = () => { told.socket = 'open'; };
  const frame = url => new Promise(yes => {
    const f = document.createElement('iframe'); f.src = url; f.onload = () => yes(f.contentDocument ? 'read' : 'closed');
    document.body.append(f);
  });
  const form = (url, fields) => new Promise(yes => {
    const target = document.createElement('iframe'); target.name = 'f' + Math.random(); document.body.append(target);
    const f = document.createElement('form'); f.method = 'POST'; f.action = url; f.target = target.name;
    for (const [key, value] of Object.entries(fields)) {
      const i = document.createElement('input'); i.name = key; i.value = value; f.append(i);
    }
    document.body.append(f); target.onload = () => yes('sent'); f.submit();
  });
  const xsrf = (document.cookie.match(/_xsrf=(?!tossed)([^;]+)/) || [])[1];
  await tried('files', async () => (await fetch(`${victim}/api/contents?_xsrf=${xsrf}`, mine)).text());
  await tried('page', async () => (await fetch(`${victim}/lab`, mine)).text());
  await tried('token', async () => (await fetch(`${hub}/hub/token`, mine)).text());
  const tokens = `${hub}/hub/api/users/${name}/tokens`;
  await tried('new token', async () => (await fetch(tokens, {...mine, method: 'POST', body: '{}'})).text());
  await tried('kernel', async () => (await fetch(`${victim}/api/kernels`, post)).type);
  await tried('frame', () => frame(`${victim}/lab`));
  await tried('frame of the hub', () => frame(`${hub}/hub/home`));
  await tried('worker of the hub', () => navigator.serviceWorker.register(`${hub}/worker.js`, {scope: `${hub}/`}));
  await tried('worker of the victim', () => navigator.serviceWorker.register(`${victim}/worker.js`));
  for (const path of ['/', `/user/${name}/`, '/hub/']) {
    for (const cookie of ['_xsrf=tossed', 'jupyterhub-session-id=tossed', `jupyterhub-user-${name}=tossed`])
      document.cookie = `${cookie}; domain=${new URL(hub).hostname}; path=${path}`;
  }
  await tried('form', () => form(`${victim}/api/kernels`, {_xsrf: 'tossed', name: 'python3'}));
  await tried('form of the hub', () => form(tokens, {_xsrf: 'tossed'}));
  await tried('kernel again', async () => (await fetch(`${victim}/api/kernels?_xsrf=tossed`, post)).type);
  return told;
}"""


class Evil(http.server.BaseHTTPRequestHandler):
    """Any page, and a script for any worker; keeps what cookies it was sent."""

    cookies: ClassVar[list[str]] = []

    def do_GET(self):
        self.cookies.append(self.headers.get("Cookie", ""))
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if self.path.endswith(".js") else "text/html")
        self.send_header("Service-Worker-Allowed", "/")
        self.end_headers()
        self.wfile.write(b"" if self.path.endswith(".js") else b"<!doctype html><title>evil</title><body>")

    def log_message(self, *words):
        """Nothing."""


@contextmanager
def any_page_of(room, name):
    """That learner's name leads to `Evil`."""
    token = next(
        child.environ()["CONFIGPROXY_AUTH_TOKEN"]
        for child in hub_of(room).children()
        if "node" in psutil.Process(child.pid).name()
    )
    evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=evil.serve_forever, daemon=True).start()

    def route(method, data=None):
        url = f"http://127.0.0.1:{room.port + 2}/api/routes/{name}.class.localhost/user/{name}/evil"
        headers = {"Authorization": f"token {token}"}
        urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method))

    route("POST", json.dumps({"target": f"http://127.0.0.1:{evil.server_port}"}).encode())
    try:
        yield
    finally:
        route("DELETE")
        evil.shutdown()
        evil.server_close()


@pytest.fixture(scope="module")
def room(reachable, tmp_path_factory):
    """A class as a room has it: with TLS, under a domain."""
    from benchmarks.room import OpenClass

    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=class.localhost", "-days", "2"]
    subprocess.run([*new, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    tls = ("--domain=class.localhost", f"--cert={os.path.relpath(cert)}", f"--key={key}")
    with OpenClass(2, PREFIX, 18240, "--memory=1200", "--disk=64", *tls) as opened:
        yield opened


def at_work(room, browser):
    """The second learner's JupyterLab, in a browser that knows nothing yet."""
    page = patient(browser, ignore_https_errors=True).new_page()
    page.goto(f"{room.hub}/hub/login")
    page.fill("#username_input", TWO)
    page.fill("#password_input", room.keys[TWO])
    page.click("#login_submit")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    return page


def test_a_page_of_one_learner_reaches_nothing_of_anothers(room, browser):
    async def strays():
        """Kernels without a notebook: JupyterLab's have one, those of the attack none. None while a busy server refuses."""
        async with room.visitor(2) as there:
            await there.log_in()
            (first, kernels), (second, sessions) = [await there.call("GET", f"api/{what}") for what in ("kernels", "sessions")]
            if (first, second) == (200, 200):
                return [{kernel["id"] for kernel in kernels} - {session["kernel"]["id"] for session in sessions}]

    victim = f"{room.hub.replace('//', f'//{TWO}.')}/user/{TWO}"
    page = at_work(room, browser)
    with any_page_of(room, TWO):
        page.goto(f"{victim}/evil/page")
        assert "notebooks" in page.evaluate(ATTACK, [room.hub, victim, TWO])["files"], "the attack itself does not work"
    page.context.close()
    Evil.cookies.clear()
    page = at_work(room, browser)
    before = until(lambda: play(strays()))
    with any_page_of(room, ONE):
        evil = page.context.new_page()
        evil.goto(f"{room.hub.replace('//', f'//{ONE}.')}/user/{ONE}/evil/page")
        assert evil.title() == "evil"
        told = evil.evaluate(ATTACK, [room.hub, victim, TWO])
        frames = [frame.url for frame in evil.frames[1:]]
    assert {told[what] for what in ("files", "page", "token", "new token", "socket")} == {"refused"}, told
    assert told["worker of the hub"] == told["worker of the victim"] == "refused", told
    assert told["frame"] == told["frame of the hub"] == "closed", told
    assert not [url for url in frames if "/lab" in url or "/hub/home" in url], frames
    until(lambda: play(strays()) == before)
    assert not any(secret in cookie for cookie in Evil.cookies for secret in ("jupyterhub-hub-login", f"jupyterhub-user-{TWO}"))
    page.goto(f"{victim}/lab")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.context.close()


def test_neither_the_hub_nor_a_server_can_be_framed(room):
    async def story():
        async with room.visitor(1) as one:
            await one.log_in()
            for url in (f"{room.hub}/hub/login", f"{room.hub}/hub/home", f"{one.server()}/lab"):
                async with one.web.get(url) as page:
                    assert re.search("frame-ancestors '(self|none)'", page.headers["Content-Security-Policy"])

    play(story())
