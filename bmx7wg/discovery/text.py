"""Makes what others wrote fit for a person's eyes."""

from __future__ import annotations

from os import fsdecode


def printable(text: str | bytes, limit: int = 64) -> str:
    """*text* in printable ASCII, at most *limit* characters and an ellipsis.

    Control characters, terminal escapes and all that is not ASCII are shown as escapes.
    """
    start = fsdecode(text[: limit + 1])
    shown = start.encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= limit else shown[:limit] + "..."
