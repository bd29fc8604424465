"""Where the text goes: its width, its colours, and what may be written to it.

Names and reasons come from other people's nodes. Whatever is printed passes `printable`, so
that no escape sequence, bidirectional override or combining mark reaches a terminal.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import Final, TextIO

_SGR: Final = {
    "good": "32",
    "warn": "33",
    "bad": "31",
    "dim": "2",
    "bold": "1",
    "": "",
}


@dataclass(frozen=True)
class Terminal:
    """What is known of an output; ``width`` is None where lines may have any length."""

    width: int | None = None
    colour: bool = False
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO) -> Terminal:
        """Look at *stream* and at COLUMNS, NO_COLOR (no-color.org) and TERM."""
        is_terminal = stream.isatty()
        columns = os.environ.get("COLUMNS", "")
        width: int | None = None
        if columns.isdecimal() and int(columns) > 0:
            width = int(columns)
        elif is_terminal:
            try:
                width = os.get_terminal_size(stream.fileno()).columns or None
            except OSError:
                width = None
        return cls(
            width=width,
            colour=is_terminal
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb",
            unicode=(stream.encoding or "").lower().replace("-", "") == "utf8",
        )

    @property
    def arrow(self) -> str:
        return "→" if self.unicode else "->"

    def paint(self, text: str, style: str) -> str:
        """*text* in a style of `_SGR`, or as it is where there are no colours."""
        code = _SGR[style]
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text

    def fit(self, text: str, room: int, *, middle: bool = False) -> str:
        """*text*, printable already, cut to *room* columns, with a mark where it is cut."""
        if width(text) <= room:
            return text
        mark = "…" if self.unicode else "~"
        if room <= 1:
            return mark[:room]
        tail = (room - 1) // 2 if middle else 0
        end = _last(text, tail)
        return _first(text, room - 1 - width(end)) + mark + end


def printable(text: str) -> str:
    """*text* with everything that is not a visible character or a space written as an escape.

    Combining marks are escaped too: stacked, they paint over the lines around them, and their
    width differs between terminals. The escapes are those of TOML.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_visible(char) else _escape(char) for char in text)


def width(text: str) -> int:
    """The columns that *text*, printable already, takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _is_visible(char: str) -> bool:
    return char == " " or unicodedata.category(char)[0] in "LNPS"


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _columns(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _first(text: str, room: int) -> str:
    for index, char in enumerate(text):
        room -= _columns(char)
        if room < 0:
            return text[:index]
    return text


def _last(text: str, room: int) -> str:
    return _first(text[::-1], room)[::-1]
