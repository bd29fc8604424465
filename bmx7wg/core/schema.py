"""What a configuration's value may be, and how to say that it is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-]+)\s*\]")
_ASSIGNMENT: Final = re.compile(r"\s*([A-Za-z0-9_.\-]+)\s*=")


class Check(Protocol):
    """Turns a TOML value into ours; ValueError says what was found and what is allowed."""

    def check(self, value: object) -> Any:
        ...


class Text:
    """A string that *read* accepts."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self._read = read

    def check(self, value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"is {_kind(value)}; a string is needed")
        if "\0" in value:
            raise ValueError("has a NUL character")
        try:
            return self._read(value)
        except ValueError as error:
            raise ValueError(f"{shown(value)} is not allowed; needed: {error}") from None


class Secret(Text):
    """A string that *read* accepts and that nobody is shown, not even when it is wrong."""

    def check(self, value: object) -> Any:
        try:
            return super().check(value)
        except ValueError:
            raise ValueError("is not what is needed: 44 characters of base64") from None


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def check(self, value: object) -> str:
        if not isinstance(value, str) or value not in self._words:
            allowed = ", ".join(f'"{word}"' for word in self._words)
            hint = nearest(value, self._words) if isinstance(value, str) else ""
            raise ValueError(f"{shown(value)} is not allowed; one of {allowed}{hint}")
        return value


class Number:
    """A whole number within bounds, or the one more word *also* (which means "off")."""

    def __init__(self, low: int, high: int, *, also: int | None = None) -> None:
        self._low, self._high, self._also = low, high, also

    def check(self, value: object) -> int:
        if type(value) is not int:  # bool is an int in Python, not in TOML
            raise ValueError(f"is {_kind(value)}; a whole number is needed")
        if not self._low <= value <= self._high and value != self._also:
            also = "" if self._also is None else f", or {self._also}"
            raise ValueError(f"{shown(value)} is out of range; {self._low} to {self._high}{also}")
        return value


class NamedNumber:
    """A number, or a word that stands for one."""

    def __init__(self, number: Number, names: Mapping[str, int]) -> None:
        self._number, self._names = number, names

    def check(self, value: object) -> int:
        if not isinstance(value, str):
            return self._number.check(value)
        if value not in self._names:
            allowed = ", ".join(f'"{name}"' for name in self._names)
            raise ValueError(f"{shown(value)} is not allowed; a number or one of {allowed}")
        return self._names[value]


class Boolean:
    """true or false."""

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"is {_kind(value)}; true or false is needed")
        return value


class ListOf:
    """A list of strings that *read* accepts; becomes a tuple of at most *most* items."""

    def __init__(self, read: Callable[[str], Any], *, most: int = 10_000) -> None:
        self._item, self._most = Text(read), most

    def check(self, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"is {_kind(value)}; a list of strings is needed")
        if len(value) > self._most:
            raise ValueError(f"has {len(value)} items; at most {self._most} are allowed")
        return tuple(self._item.check(item) for item in value)


class Problems:
    """Collects what is wrong, a sentence each."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, where: str, key: str, what: str) -> None:
        self.found.append(f"{where}: {key}: {what}")


def different(what: object, usual: object, keys: Iterable[str]) -> dict[str, object]:
    """The *keys* in which one thing is not as the other, with its values as TOML has them."""
    said: dict[str, object] = {}
    for key in keys:
        value, other = (getattr(thing, key.replace("-", "_")) for thing in (what, usual))
        if value != other:
            said[key] = value if isinstance(value, int | str) else str(value)
    return said


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean "…"?`` for the known word that looks most like *word*, or nothing.

    A dotted one may look like it by its last part alone: somebody forgot the section.
    """
    import difflib  # 5 ms, and only somebody's mistake needs it

    looks: dict[str, str] = {}
    for name in known:
        looks.setdefault(name.rpartition(".")[2], name)
        looks[name] = name
    found = difflib.get_close_matches(word, looks, 1, 0.5)
    return f'; did you mean "{looks[found[0]]}"?' if found else ""


def shown(value: object) -> str:
    """A value as it may be printed: bounded, on one line."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 80 else text[:77] + "..."


def lines_of(text: str) -> Mapping[str, int]:
    """The line (from 1) on which each dotted key of a TOML text stands first.

    The n-th (from 0) of several ``[[peer]]`` is "peer[n]". tomllib doesn't tell; this reads
    headers and assignments only, enough to point a person there.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            brackets, name = header.groups()
            if brackets == "[[":
                counts[name] = counts.get(name, -1) + 1
                name = f"{name}[{counts[name]}]"
            section = name + "."
            lines.setdefault(name, number)
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault(section + assignment.group(1), number)
    return lines


def _kind(value: object) -> str:
    kinds = {bool: "a boolean", int: "a whole number", float: "a number", str: "a string"}
    kinds |= {list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date or time")
