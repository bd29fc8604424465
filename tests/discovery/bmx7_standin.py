#!/usr/bin/python3
"""A stand-in for bmx7: daemons that flood small files among each other, as the real one does.

    bmx7_standin.py --dir DIR --nodes 3 [--topology line|lan] [--pace 0.02]

starts nodes n1, n2, … with their runtime directories ``DIR/n1``, … and the command
``DIR/bin/bmx7``; SIGTERM ends all. Each node is a process of its own (its pid is in
``DIR/n1/pid``), so that one can be stopped, killed or frozen by its pid, as a real one.

What the files are, which events they cause, what the command prints and how it fails is as
seen on bmx7's revision 9020896. ``--pace`` shortens all times of a mesh: 1 is a real one's.
There is no routing: a primary address (``fd70::/16`` and the node id) is only told, not set.
What a real one measures can be said here: ``bmx7 … -c metric=n3:5M``.
"""

# Only what the command needs: it is run at every question.
from __future__ import annotations

import os
import socket
import sys

MAX_NAME = 15
ALLOWED = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")

# s at pace 1
LEARN = 6.0  # from the start to the neighbours' descriptions
HOP = 0.5  # a description over one hop
BEAT = 2.0
FAREWELL = 3.0  # a daemon that ended is forgotten elsewhere
SILENCE = 70.0  # a daemon that was killed is forgotten elsewhere
JSON = 60.0  # the json plugin's interval
STEP = 0.003  # s, at any pace, between two steps of writing a file


def command(arguments: list[str]) -> int:
    """``bmx7 [runtimeDir=DIR] -c WORDS``"""
    runtime = "/var/run/bmx7"
    if arguments and arguments[0].startswith("runtimeDir="):
        runtime = arguments.pop(0).partition("=")[2]
    if not arguments or arguments.pop(0) not in ("-c", "--connect"):
        print("ERROR this stand-in only knows: bmx7 [runtimeDir=DIR] -c …")
        return 1
    os.makedirs(runtime, exist_ok=True)  # so does the real one
    path = os.path.join(runtime, "sock")
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            print(
                f"ERROR : can't connect to unix socket '{path}': {error.strerror} ! "
                "Is bmx7 running on this host ?",
                file=sys.stderr,
            )
            return 1
        sock.sendall(" ".join((*arguments, "#")).encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
    text, end, _ = answer.partition(b"$")
    os.write(1, text)
    return 0 if end else 1


if __name__ == "__main__" and sys.argv[1:2] == ["command"]:
    sys.exit(command(sys.argv[2:]))

# fmt: off
import argparse  # noqa: E402
import asyncio  # noqa: E402
import contextlib  # noqa: E402
import hashlib  # noqa: E402
import ipaddress  # noqa: E402
import json  # noqa: E402
import shlex  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterable, Sequence  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402

# fmt: on

METRICS = ("257G", "706M", "80740K", "19607K")  # by hops


def node_id_of(name: str, key: str = "1") -> str:
    """The id of a stand-in node: 56 upper-case hex digits."""
    return hashlib.sha224(f"{name} {key}".encode()).hexdigest().upper()


def primary_of(node_id: str) -> str:
    return str(ipaddress.IPv6Address(bytes.fromhex("fd70" + node_id[:28])))


@dataclass
class Known:
    """A node as another one knows it; this is what is flooded, too."""

    node_id: str
    name: str
    address: str
    sqn: int
    beat: int
    hops: int
    files: dict[str, str] = field(default_factory=dict)
    via: str = ""
    heard: float = 0.0
    leaving: bool = False


class Daemon:
    """One node of the mesh."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.runtime = Path(options.runtime)
        self.net = Path(options.net)
        self.name: str = options.name
        self.neighbours: list[str] = options.neighbours.split(",") if options.neighbours else []
        self.pace: float = options.pace
        self.plugins = set(options.plugins.split(","))
        node_id = node_id_of(self.name, options.key)
        address = options.address or primary_of(node_id)
        sqn = self._next_sqn(100)
        self.own = Known(node_id, self.name, address, sqn, 0, 0)
        self.known = {node_id: self.own}
        self.synced: set[str] = set()
        self.metrics: dict[str, str] = {}  # by name; else by hops
        self.begun = time.monotonic()
        self.writing = asyncio.Lock()
        self.received = self.runtime / "sms" / "rcvdSms"
        self.sent = self.runtime / "sms" / "sendSms"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        air = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        (self.net / self.name).unlink(missing_ok=True)
        air.bind(str(self.net / self.name))
        self.air = air
        loop.add_reader(air, self._hear)
        self.runtime.mkdir(parents=True, exist_ok=True)
        sock = self.runtime / "sock"
        sock.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._control, str(sock))
        (self.runtime / "pid").write_text(f"{os.getpid()}\n")
        await asyncio.sleep(STEP)
        if "sms" in self.plugins:
            self.received.mkdir(parents=True, exist_ok=True)
            self.sent.mkdir(exist_ok=True)
            _empty(self.received)
        if "json" in self.plugins:
            for part in ("originators", "descriptions"):
                (self.runtime / "json" / part).mkdir(parents=True, exist_ok=True)
                _empty(self.runtime / "json" / part)
        tasks = [asyncio.create_task(t) for t in (self._beat(), self._files(), self._json())]
        await ended.wait()
        for task in tasks:
            task.cancel()
        self.own.leaving = True
        self._say(self.own)
        async with self.writing:
            if "sms" in self.plugins:
                _empty(self.received)
            if "json" in self.plugins:
                _empty(self.runtime / "json" / "originators")
                _empty(self.runtime / "json" / "descriptions")
        server.close()  # neither sock nor pid are removed, as by the real one
        self.air.close()

    # -- the mesh ---------------------------------------------------------------------------

    def _say(self, node: Known) -> None:
        message = json.dumps(vars(node) | {"hops": node.hops + 1, "via": self.name}).encode()
        for neighbour in self.neighbours:
            with contextlib.suppress(OSError):
                self.air.sendto(message, str(self.net / neighbour))

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                heard = Known(**json.loads(self.air.recv(1 << 20)))
                if time.monotonic() < self.begun + LEARN * self.pace:
                    continue
                old = self.known.get(heard.node_id)
                if heard.node_id == self.own.node_id:
                    continue
                if old and _age(heard) <= _age(old):
                    continue
                heard.heard = time.monotonic()
                self.known[heard.node_id] = heard
                loop = asyncio.get_running_loop()
                loop.call_later(HOP * self.pace, self._say, heard)
                if heard.leaving:
                    heard.heard += (FAREWELL - SILENCE) * self.pace
                elif old is None or old.sqn != heard.sqn:
                    asyncio.ensure_future(self._describe(heard))

    async def _beat(self) -> None:
        while True:
            self.own.beat += 1
            self.own.heard = now = time.monotonic()
            self._say(self.own)
            for node in [n for n in self.known.values() if n is not self.own]:
                if now - node.heard > SILENCE * self.pace:
                    del self.known[node.node_id]
                    await self._undescribe(node)
            await asyncio.sleep(BEAT * self.pace)

    def _next_sqn(self, step: int) -> int:
        path = self.runtime / "descSqn"
        self.runtime.mkdir(parents=True, exist_ok=True)
        sqn = (int(path.read_text() or 0) if path.exists() else 0) + step
        path.write_text(str(sqn))
        return sqn

    # -- files ------------------------------------------------------------------------------

    async def _describe(self, node: Known) -> None:
        """DELETE, CREATE, OPEN, MODIFY, CLOSE_WRITE for each file; in two halves, to be nasty."""
        if "json" in self.plugins:
            path = self.runtime / "json" / "descriptions" / node.node_id
            path.write_text(json.dumps({"descSha": "", "extensions": []}))
        if "sms" not in self.plugins:
            return
        async with self.writing:
            for path in self.received.glob(f"{node.node_id}:*"):
                path.unlink()
            await asyncio.sleep(STEP)
            for name, content in node.files.items():
                data = content.encode("latin-1")
                fd = os.open(
                    self.received / f"{node.node_id}:{name}",
                    os.O_CREAT | os.O_WRONLY | os.O_TRUNC,
                    0o644,
                )
                for half in (data[: len(data) // 2], data[len(data) // 2 :]):
                    await asyncio.sleep(STEP)
                    os.write(fd, half)
                await asyncio.sleep(STEP)
                os.close(fd)

    async def _undescribe(self, node: Known) -> None:
        async with self.writing:
            for path in self.received.glob(f"{node.node_id}:*"):
                path.unlink()
        for part in ("originators", "descriptions"):
            (self.runtime / "json" / part / node.node_id).unlink(missing_ok=True)

    async def _files(self) -> None:
        while True:
            files = {}
            for name in sorted(self.synced):
                with contextlib.suppress(OSError):
                    files[name] = (self.sent / name).read_bytes().decode("latin-1")
            if files != self.own.files:
                self.own.files, self.own.sqn = files, self._next_sqn(1)
                await self._describe(self.own)
                self._say(self.own)
            await asyncio.sleep(0.02)

    async def _json(self) -> None:
        while "json" in self.plugins:
            base = self.runtime / "json"
            status = {**dict(zip(self.STATUS, self._status())), "nodeId": self.own.node_id}
            (base / "status").write_text(json.dumps({"status": status}))
            interfaces = [dict(zip(self.INTERFACES, row)) for row in self._interfaces()]
            (base / "interfaces").write_text(json.dumps({"interfaces": interfaces}))
            for node in self.known.values():
                row: dict[str, object] = dict(zip(self.ORIGINATORS, self._originator(node)))
                row |= {"nodeId": node.node_id, "hops": node.hops}
                (base / "originators" / node.node_id).write_text(json.dumps(row))
            await asyncio.sleep(JSON * self.pace)

    # -- the command ------------------------------------------------------------------------

    STATUS = "shortId name nodeKey cv revision primaryIp uptime cpu nbs rts nodes".split()
    KEYS = "shortId nodeId name as descSqn cv revision primaryIp hops lastRef nbs".split()
    ORIGINATORS = "shortId name as descSqn primaryIp dev nbName metric hops lastRef".split()
    INTERFACES = "dev state type channel rateMax idx localIp".split()

    def _status(self) -> Sequence[str]:
        me, seconds = self.own, int(time.monotonic() - self.begun)
        nodes = f"{len(self.known)}/{len(self.known)}"
        uptime = f"0:00:{seconds // 60:02}:{seconds % 60:02}"
        name, nbs = me.name, str(len(self.neighbours))
        key, cv, revision = "RSA2048", "21", "9020896"
        return (me.node_id[:8], name, key, cv, revision, me.address, uptime, "0.1", nbs, nbs, nodes)

    def _key(self, node: Known) -> Sequence[str]:
        short, sqn, hops = node.node_id[:8], str(node.sqn), str(node.hops)
        return (
            short, node.node_id, node.name, "nA", sqn, "21", "9020896", node.address, hops, "2", "1"
        )  # fmt: skip

    def _originator(self, node: Known) -> Sequence[str]:
        dev, via = ("---", "---") if node is self.own else (f"to-{node.via}", node.via)
        metric = self.metrics.get(node.name, METRICS[min(node.hops, len(METRICS) - 1)])
        short, sqn, hops = node.node_id[:8], str(node.sqn), str(node.hops)
        return (short, node.name, "nA", sqn, node.address, dev, via, metric, hops, "2")

    def _interfaces(self) -> list[Sequence[str]]:
        return [
            (f"to-{name}", "UP", "ethernet", "0", "1000M", str(number), f"fe80::{number}/64")
            for number, name in enumerate(self.neighbours, 1)
        ]

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            with contextlib.suppress(asyncio.IncompleteReadError):  # who only looks who is there
                question = (await reader.readuntil(b"#")).decode()
                done, text = self._answer(question.rstrip("#").split())
                writer.write(f"{text}{'$' if done else ''}".encode())
                await writer.drain()
        writer.close()

    def _answer(self, words: list[str]) -> tuple[bool, str]:
        """Whether all of it could be done, and what is printed."""
        text = ""
        for word in words:
            option, _, value = word.partition("=")
            if option == "show":
                said = self._show(value)
            elif option == "syncSms" and "sms" in self.plugins:
                said = self._sync(value)
            elif option == "metric":
                name, _, self.metrics[name] = value.partition(":")
                said = ""
            else:
                said = None
            if said is None:
                return False, text + f"ERROR apply_stream_opts: invalid argument: {word}\n"
            text += said
        return True, text

    def _show(self, what: str) -> str | None:
        nodes = self.known.values()
        tables: dict[str, tuple[list[str], Iterable[Sequence[str]]]] = {
            "status": (self.STATUS, [self._status()]),
            "keys": (self.KEYS, map(self._key, nodes)),
            "originators": (self.ORIGINATORS, map(self._originator, nodes)),
            "interfaces": (self.INTERFACES, self._interfaces()),
        }
        if what not in tables or what == "keys" and "no-keys" in self.plugins:
            return None  # older ones have no table of keys
        columns, rows = tables[what]
        lines = [columns, *rows]
        widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
        padded = ("".join(f"{cell:{w}} " for cell, w in zip(line, widths)) for line in lines)
        return f"{what.upper()}:\n" + "".join(f"{line}\n" for line in padded)

    def _sync(self, name: str) -> str | None:
        if name.startswith("-"):
            self.synced.discard(name[1:])
        elif len(name) > MAX_NAME or set(name) - ALLOWED or not (self.sent / name).exists():
            return None
        else:
            self.synced.add(name)
        return f"INFO  : --syncSms                 {name:30}\n"


def _age(node: Known) -> tuple[int, int, bool]:
    return node.sqn, node.beat, node.leaving


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        with contextlib.suppress(OSError):
            path.unlink()


class Mesh:
    """Nodes beside each other; used by tests, and by the program itself."""

    def __init__(self, directory: Path, *, pace: float = 1.0) -> None:
        self.directory = directory
        self.pace = pace
        self.links: dict[str, list[str]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.command = directory / "bin" / "bmx7"
        (directory / "net").mkdir(parents=True, exist_ok=True)
        self.command.parent.mkdir(exist_ok=True)
        me = shlex.quote(str(Path(__file__).resolve()))
        self.command.write_text(f'#!/bin/sh\nexec /usr/bin/python3 -SE {me} command "$@"\n')
        self.command.chmod(0o755)

    def line(self, *names: str) -> None:
        """Lay out nodes in a line."""
        for left, right in zip(names, names[1:]):
            self.links.setdefault(left, []).append(right)
            self.links.setdefault(right, []).append(left)

    def lan(self, *names: str) -> None:
        """Lay out nodes that all hear each other."""
        for name in names:
            self.links[name] = [other for other in names if other != name]

    def runtime(self, name: str) -> Path:
        return self.directory / name

    def start(
        self, name: str, *, plugins: str = "sms,json", key: str = "1", address: str = ""
    ) -> None:
        words = [
            f"--runtime={self.runtime(name)}", f"--net={self.directory / 'net'}",
            f"--name={name}", f"--neighbours={','.join(self.links.get(name, []))}",
            f"--plugins={plugins}", f"--key={key}", f"--address={address}", f"--pace={self.pace}",
        ]  # fmt: skip
        self.processes[name] = subprocess.Popen(["/usr/bin/python3", __file__, "node", *words])

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a node's daemon, and wait for its end."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(10)

    def tell(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command for a node."""
        line = [str(self.command), f"runtimeDir={self.runtime(name)}", "-c", *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=10)

    def close(self) -> None:
        for name in list(self.processes):
            self.end(name, signal.SIGKILL)

    def __enter__(self) -> Mesh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="daemons that behave as bmx7")
    if sys.argv[1:2] == ["node"]:
        for option in ("runtime", "net", "name", "neighbours", "plugins", "key", "address"):
            parser.add_argument(f"--{option}", required=True)
        parser.add_argument("--pace", type=float, required=True)
        asyncio.run(Daemon(parser.parse_args(sys.argv[2:])).run())
        return
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--topology", choices=("line", "lan"), default="line")
    parser.add_argument("--pace", type=float, default=1.0)
    parser.add_argument("--plugins", default="sms,json")
    parser.add_argument(
        "--address", action="append", default=[], metavar="NAME=IP", help="a primary address"
    )
    options = parser.parse_args()
    addresses = dict(item.split("=", 1) for item in options.address)
    names = [f"n{number}" for number in range(1, options.nodes + 1)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Mesh(options.dir, pace=options.pace) as mesh:
        (mesh.line if options.topology == "line" else mesh.lan)(*names)
        for name in names:
            mesh.start(name, plugins=options.plugins, address=addresses.get(name, ""))
        print(f"started {' '.join(names)}; the command is {mesh.command}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
