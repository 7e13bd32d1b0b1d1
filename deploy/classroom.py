"""Opens a class on this machine: a system user, a home and a key for each learner, and JupyterHub; looks at it, and ends it.

`make class USERS=30` calls it. Needs root; touches only users that it made, and its own folder.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import accounts
import checks
import progress
from limits import Groups


def absolute(word: str) -> Path:
    """A path that means the same in the hub's folder."""
    return Path(word).absolute()


def options(arguments: list[str]) -> argparse.Namespace:
    """What the instructor may choose."""
    parser = argparse.ArgumentParser(description="A class on one machine.")
    for name, (least, most, usual, words) in checks.RANGES.items():
        parser.add_argument(f"--{name}", type=type(least), default=usual, help=f"{words}, {least} to {most}; else {usual}")
    parser.add_argument("--prefix", default="learner", help="learners are called learner01, learner02, …")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen at; loopback unless told otherwise")
    parser.add_argument("--domain", default="", help="name of the class; each learner gets a name below it")
    parser.add_argument("--cert", type=absolute, help="certificate for the domain and all names below it")
    parser.add_argument("--key", type=absolute, help="its private key")
    parser.add_argument("--behind-tls", default="", help="name of the proxy with TLS that stands in front instead")
    parser.add_argument("--run", type=absolute, default=Path("/var/lib") / accounts.MARK, help="the class's own folder")
    parser.add_argument("--progress", action="store_true", help="see which exercises are tried and right; learners are told")
    parser.add_argument("--no-limits", action="store_true", help="trust the learners: no control groups, no namespaces")
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--status", action="store_true", help="who is in, and what each takes")
    does.add_argument("--stop", metavar="LEARNER", help="end a learner's server, or everybody's: all")
    does.add_argument("--new-key", metavar="LEARNER", help="a new key for one who lost theirs; the old one ends")
    does.add_argument("--remove", action="store_true", help="delete the learners and all their files")
    return parser.parse_args(arguments)


def lock_of(run: Path) -> Path:
    """The file that a class with this folder holds while it is open."""
    return Path(f"/run/{accounts.MARK}{str(run).replace('/', '-')}.lock")


def alone(run: Path) -> None:
    """From now on this class has the folder, until it ends. Raises ValueError if another has it."""
    try:
        fcntl.flock(os.open(lock_of(run), os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"A class is open in {run}. End it first, or choose another --run.") from None


def groups_of(run: Path) -> Groups:
    """The control groups of the class that is, or was, open here."""
    return Groups(json.loads((run / "room.json").read_text())["groups"] if (run / "room.json").exists() else {})


def end(run: Path) -> None:
    """Ends what learners still run, every token and session. Raises ValueError if a process can not be ended."""
    groups = groups_of(run)
    left = [name for name, uid in accounts.of_class(run).items() if not groups.end(name, uid)]
    shutil.rmtree(run / "hub", ignore_errors=True)
    checks.refuse(left, f"Still at work: {', '.join(left)}.")


def prepare(chosen: argparse.Namespace, names: list[str]) -> dict[str, object]:
    """Lessons, users, homes and keys, as far as they are not there yet; what the hub has to know."""
    run, label = chosen.run, f"{accounts.MARK}.{chosen.prefix}"
    for folder, mode in ((run, 0o711), (run / "homes", 0o711), (run / "images", 0o700), (run / "hub", 0o700)):
        folder.mkdir(mode=mode, exist_ok=True)
        folder.chmod(mode)
    shutil.rmtree(run / "lessons", ignore_errors=True)
    for name in ("notebooks", "docs"):
        shutil.copytree(checks.ROOT / name, run / "lessons" / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    subprocess.run(["chmod", "-R", "a+rX,go-w", str(run / "lessons")], check=True)
    ids = accounts.new_ids()
    for name in names:
        accounts.make(name, run, ids, None if chosen.no_limits else chosen.disk)
    host, scheme = chosen.domain or "class.localhost", "https" if chosen.domain else "http"
    port = "" if chosen.behind_tls or (scheme, chosen.port) == ("https", 443) else f":{chosen.port}"
    room = {which: getattr(chosen, which) for which in (*checks.RANGES, "bind")}
    room |= {"run": str(run), "label": label, "url": f"{scheme}://{host}{port}", "proxy": str(checks.PROXY), "learners": names}
    room |= {"cert": str(chosen.cert or ""), "key": str(chosen.key or ""), "limits": not chosen.no_limits}
    room["progress"] = str(run / "progress.sock") if chosen.progress else ""
    room["groups"] = {} if chosen.no_limits else Groups.of_this_machine(label).places
    (run / "room.json").write_text(json.dumps(room))
    for name, key in accounts.give_keys(names, run / "keys.json", again=False).items():
        print(f"{name}  {key}")
    print(f"{len(names)} learners; new keys are above, and shown only now.\n{room['url']}", flush=True)
    return room


def hold(chosen: argparse.Namespace, room: dict[str, object]) -> None:
    """Runs the hub until it ends, by Control-C, a signal or itself, and then ends all that is left of the class."""
    bin_folder = Path(sys.executable).parent
    if chosen.progress:
        progress.listen(chosen.run, accounts.of_class(chosen.run))
    command = ["setpriv", "--pdeathsig=TERM", str(bin_folder / "jupyterhub"), "--config"]
    with open(chosen.run / "hub.log", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        hub = subprocess.Popen(
            [*command, str(Path(__file__).with_name("jupyterhub_config.py"))],
            cwd=chosen.run / "hub",
            env=os.environ | {"CLASS_ROOM": json.dumps(room)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, lambda *_: hub.terminate())
    code = hub.wait()
    end(chosen.run)
    checks.refuse(code, f"The hub ended by itself, with {code}; {chosen.run}/hub.log has its last words.")


def status(groups: Groups, learners: dict[str, int]) -> None:
    """A line for each learner who is in: processes, memory, and the cores kept busy in the last second."""
    before = {name: groups.use(name)[1] for name in learners}
    time.sleep(1)
    print(f"{'learner':22}{'processes':>10}{'memory':>10}{'cores':>8}")
    for name, uid in learners.items():
        if count := len(groups.processes(name, uid)):
            memory, seconds = groups.use(name)
            print(f"{name:22}{count:10}{memory >> 20:7} MB{max(seconds - before[name], 0):8.2f}")


def manage(chosen: argparse.Namespace) -> None:
    """Looks at a class, ends a learner's server, or gives a new key, which ends the server too."""
    run, name, learners = chosen.run, chosen.stop or chosen.new_key, accounts.of_class(chosen.run)
    known = name in (None, *learners) or (chosen.stop and name == "all")
    checks.refuse(not learners or not known, f"There is no {name or 'class'} in {run}.")
    groups = groups_of(run)
    if chosen.status:
        status(groups, learners)
        print("\n".join(progress.table(run)), flush=True)
    if chosen.new_key:
        print(f"{name}  {accounts.give_keys([name], run / 'keys.json')[name]}")
    left = [one for one, uid in learners.items() if name in (one, "all") and not groups.end(one, uid)]
    checks.refuse(left, f"Still at work: {', '.join(left)}.")


def act(chosen: argparse.Namespace) -> None:
    """Does what is asked."""
    names = [f"{chosen.prefix}{k:02d}" for k in range(1, chosen.users + 1)]
    checks.folder(chosen.run, chosen.prefix)
    if chosen.status or chosen.stop or chosen.new_key:
        return manage(chosen)
    if not chosen.remove:
        checks.room(chosen)
    alone(chosen.run)
    end(chosen.run)
    if chosen.remove:
        for name in accounts.of_class(chosen.run):
            accounts.remove(name, chosen.run)
        lock_of(chosen.run).unlink()
        return shutil.rmtree(chosen.run, ignore_errors=True)
    checks.machine(chosen, names)
    hold(chosen, prepare(chosen, names))


def main(arguments: list[str]) -> int:
    """Opens the class and stays until it is ended by Control-C or a signal, or does what else is asked; 1 if it can not."""
    os.umask(0o077)
    try:
        act(options(arguments))
    except ValueError as refused:
        print(refused, file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped before the class was open; the next start goes on from here.", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
