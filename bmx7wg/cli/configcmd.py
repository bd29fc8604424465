"""``bmx7-wg config check`` and ``show``: the same reading as the service's, without it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..configfiles import changes, read
from ..core import offers, searches, staticpeers
from ..core.changes import together
from ..core.config import ConfigError, Loaded, parse
from .output import Output, Status
from .terminal import Terminal, printable, width
from .units import counted

_WIDEST: Final = 40  # columns of "key = value" up to which the origins stand below each other
_LONGEST: Final = 80  # columns of a list that stands in one line
_SECRET: Final = "preshared-key"


@dataclass(frozen=True)
class Found:
    """What the configuration comes to, and a sentence on what of it could not be read."""

    loaded: Loaded
    unknown: str = ""


def load(directory: Path, state: Path) -> Found:
    """The files in *directory* and what was changed on the bus, which is kept in *state*.

    ConfigError says all that is wrong with them.
    """
    files = parse(read(directory))
    kept, unknown = changes(state)
    return Found(together(files, parse(kept)), unknown)


def verdict(directory: Path) -> str:
    """What to say of a configuration in which nothing is wrong."""
    return f"{directory} is " + ("valid" if directory.is_dir() else "not there: all is default")


def check(directory: Path, state: Path, output: Output) -> Status:
    problems: tuple[str, ...] = ()
    unknown = ""
    try:
        unknown = load(directory, state).unknown
    except ConfigError as error:
        problems = error.problems
    if output.json:
        output.document({"valid": not problems, "problems": problems, "unknown": unknown})
    elif problems:
        for problem in problems:
            output.line(printable(problem))
        output.line(output.terminal.paint(counted(len(problems), "problem"), "bad"))
    else:
        output.line(output.terminal.paint(verdict(directory), "good"))
        if unknown:
            output.line(output.terminal.paint(unknown, "dim"))
    return Status.FAILED if problems else Status.OK


def show(directory: Path, state: Path, output: Output) -> Status:
    """Every key with its value and where that comes from, as a TOML document."""
    try:
        found = load(directory, state)
    except ConfigError:
        return check(directory, state, output)
    if output.json:
        output.document(_document(found))
        return Status.OK
    if found.unknown:
        output.line(output.terminal.paint(f"# {found.unknown}", "warn") + "\n")
    for line in _lines(found.loaded, output.terminal):
        output.line(line)
    return Status.OK


def _document(found: Found) -> Mapping[str, object]:
    loaded = found.loaded
    settings = [
        {"key": key, "value": _plain(value), "origin": loaded.origins[key]}
        for key, value in loaded.values.items()
    ]
    entries: dict[str, list[dict[str, object]]] = {"peer": [], "offer": [], "search": []}
    for kind, said, origin in _entries(loaded):
        secret = said.pop(_SECRET, None) is not None
        more = {"has_preshared_key": secret} if kind == "peer" else {}
        entries[kind].append({"values": said, **more, "origin": origin})
    return {
        "settings": settings,
        "peers": entries["peer"],
        "offers": entries["offer"],
        "searches": entries["search"],
        "unknown": found.unknown,
    }


def _entries(loaded: Loaded) -> Iterator[tuple[str, dict[str, object], str]]:
    """The sections that there can be several of: what it is, its keys, where it comes from."""
    config = loaded.config
    for peer, origin in zip(config.peers, loaded.peers, strict=True):
        yield "peer", staticpeers.said_of(peer), origin
    for offer, origin in zip(config.offers, loaded.offers, strict=True):
        yield "offer", offers.said_of(offer), origin
    for search, origin in zip(config.searches, loaded.searches, strict=True):
        yield "search", searches.said_of(search), origin


def _lines(loaded: Loaded, terminal: Terminal) -> Iterator[str]:
    section = ""
    for key, value in loaded.values.items():
        here, _, name = key.rpartition(".")
        if here != section:
            yield ("\n" if section else "") + terminal.paint(f"[{here}]", "bold")
            section = here
        first, *more = _setting(name, value)
        yield _with_origin(first, loaded.origins[key], terminal)
        yield from more
    for kind, said, origin in _entries(loaded):
        yield ""
        yield _with_origin(f"[[{kind}]]", origin, terminal, "bold")
        for name, value in said.items():
            # It is nobody's to see, and root may look over somebody's shoulder.
            yield from [f"# {_SECRET} is set"] if name == _SECRET else _setting(name, value)


def _setting(name: str, value: object) -> list[str]:
    """A key and its value, in a line or, for a long list, a line for each item."""
    line = f"{name} = {_toml(name, value)}"
    if not isinstance(value, (tuple, list)) or width(line) <= _LONGEST:
        return [line]
    return [f"{name} = [", *(f"  {_toml(name, item)}," for item in value), "]"]


def _with_origin(text: str, origin: str, terminal: Terminal, style: str = "") -> str:
    padding = " " * max(0, _WIDEST - width(text))
    comment = terminal.paint(f"# {printable(origin)}", "dim" if origin == "default" else "good")
    return terminal.paint(text, style) + padding + "  " + comment


def _toml(name: str, value: object) -> str:
    if name == "firewall-mark" and isinstance(value, int):
        return hex(value)
    # JSON's strings, lists and numbers are TOML's, and so are the escapes of `printable`.
    return printable(json.dumps(_plain(value), ensure_ascii=False))


def _plain(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return [str(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (bool, int, float)) else str(value)
