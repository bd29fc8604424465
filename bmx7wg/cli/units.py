"""Numbers as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_AGES: Final = ((86400, "day", "d"), (3600, "hour", "h"), (60, "minute", "min"), (1, "second", "s"))
_RATE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([kKMGTmgt]?)(?:bit(?:/s)?)?")


def size(count: int) -> str:
    """Bytes, with binary prefixes and three digits at most: "1.46 KiB"."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def rate(bits: int) -> str:
    """Bits a second, with decimal prefixes: "32 Mbit/s"."""
    return _scaled(bits, 1000, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"))


def parse_rate(text: str) -> int:
    """Bits a second as people write them: "32M", "1.5G", "9600"; ValueError for anything else."""
    found = _RATE.fullmatch(text)
    if not found:
        raise ValueError(f'"{text}" is no rate; needed: bit/s, such as 9600, 512k, 32M or 1.5G')
    number, unit = found.groups()
    return round(float(number) * 1000.0 ** " kmgt".index(unit.lower() or " "))


def span(us: int) -> str:
    """A short time: "420 µs", "1.25 ms", "2.00 s"."""
    return _scaled(us, 1000, ("µs", "ms", "s"))


def _scaled(count: int, base: int, names: tuple[str, ...]) -> str:
    value, step = float(count), 0
    # 999.5 would be printed as 1000 by three digits.
    while round(value) >= min(base, 1000) and step < len(names) - 1:
        value /= base
        step += 1
    digits = 0 if step == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    text = f"{value:.{digits}f}"
    if base == 1000 and "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} {names[step]}"


def ago(then: int, now: float) -> str:
    """How long before *now* (s) the time *then* (µs since 1970, 0: never) was: "2 minutes ago"."""
    if not then:
        return "never"
    seconds = int(now - then / 1e6)
    count, name, _ = _age(abs(seconds))
    text = f"{count} {name}{'' if count == 1 else 's'}"
    if seconds < 0:
        return f"{text} in the future"
    return f"{text} ago" if seconds else "just now"


def ago_short(then: int, now: float) -> str:
    """The same for a narrow column: "2 min", "never"."""
    if not then:
        return "never"
    seconds = int(now - then / 1e6)
    count, _, unit = _age(abs(seconds))
    return f"{'-' if seconds < 0 else ''}{count} {unit}"


def some(words: Sequence[str], most: int) -> str:
    """The first of many: "n2, n3 and 7 more"."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _age(seconds: int) -> tuple[int, str, str]:
    for length, name, short in _AGES:
        if seconds >= length:
            return seconds // length, name, short
    return 0, "second", "s"


def counted(count: int, noun: str) -> str:
    """ "1 peer", "2 peers" """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key that puts n2 before n10."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"([0-9]{1,18})", text.casefold())
        if part
    ]
