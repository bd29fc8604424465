"""``bmx7-wg config check`` and ``config show``: the same reading as the service's, without it."""

from __future__ import annotations

import json
from pathlib import Path

from ..configfiles import read
from ..core.config import ConfigError, Loaded, parse
from .output import Output, Status
from .terminal import printable, width
from .units import counted

_WIDEST = 40  # columns of "key = value" up to which the origins stand below each other


def load(directory: Path) -> Loaded:
    """The configuration in *directory*; ConfigError says all that is wrong with it."""
    return parse(read(directory))


def verdict(directory: Path) -> str:
    """What to say of a configuration in which nothing is wrong."""
    return f"{directory} is " + ("valid" if directory.is_dir() else "not there: all is default")


def check(directory: Path, output: Output) -> Status:
    problems: tuple[str, ...] = ()
    try:
        load(directory)
    except ConfigError as error:
        problems = error.problems
    if output.json:
        output.document({"valid": not problems, "problems": problems})
    elif problems:
        for problem in problems:
            output.line(printable(problem))
        output.line(output.terminal.paint(counted(len(problems), "problem"), "bad"))
    else:
        output.line(output.terminal.paint(verdict(directory), "good"))
    return Status.FAILED if problems else Status.OK


def show(directory: Path, output: Output) -> Status:
    """Every key with its value and where that comes from, as a TOML document."""
    try:
        loaded = load(directory)
    except ConfigError:
        return check(directory, output)
    if output.json:
        settings = [
            {"key": key, "value": _plain(value), "origin": loaded.origins[key]}
            for key, value in loaded.values.items()
        ]
        output.document({"settings": settings})
        return Status.OK
    section = ""
    for key, value in loaded.values.items():
        here, _, name = key.rpartition(".")
        if here != section:
            output.line(("\n" if section else "") + output.terminal.paint(f"[{here}]", "bold"))
            section = here
        text = f"{name} = {_toml(name, value)}"
        padding = " " * max(0, _WIDEST - width(text))
        origin = loaded.origins[key]
        style = "dim" if origin == "default" else "good"
        output.line(text + padding + "  " + output.terminal.paint(f"# {printable(origin)}", style))
    return Status.OK


def _toml(name: str, value: object) -> str:
    if name == "firewall-mark" and isinstance(value, int):
        return hex(value)
    # JSON's strings, lists and numbers are TOML's, and so are the escapes of `printable`.
    return printable(json.dumps(_plain(value), ensure_ascii=False))


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (bool, int, float)) else str(value)
