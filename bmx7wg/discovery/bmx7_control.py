"""Asks a running bmx7 and tells it things, at its socket, as the command ``bmx7 -c`` does.

The command itself is not run: it opens an AF_INET socket that it makes no use of, and crashes in a
sandbox without.

The words of a question end with a ``#``. What is answered ends with a ``$``; a refused question
has an end without (control.c of revision 9020896).
"""

from __future__ import annotations

import asyncio
from typing import Final

from .text import printable

_MAX_OUTPUT: Final = 16 * 1024 * 1024  # bytes; 10,000 nodes have tables of 5 MB


class ControlError(Exception):
    """bmx7 was not there, refused, or did not answer; the text is a whole sentence."""


class Unanswered(ControlError):
    """There is no daemon, or it hangs."""


class Refused(ControlError):
    """bmx7 answered that it can't do this."""


async def ask(path: str, *words: str, limit: float) -> str:
    """What ``bmx7 -c WORDS`` prints, within *limit* seconds; *path* is the socket's.

    Raises ControlError.
    """
    try:
        async with asyncio.timeout(limit):
            output = await _converse(path, " ".join((*words, "#")).encode())
    except TimeoutError:
        raise Unanswered(f"bmx7 did not answer within {limit:g} s.") from None
    except OSError:
        raise Unanswered("bmx7 is not running.") from None
    text, end, _ = output.decode("utf-8", "replace").partition("$")
    if not text and not end:
        raise Unanswered("bmx7 ended without an answer.")
    if not end:
        raise Refused(f"bmx7 refused {' '.join(words)}: {_complaint(text)}")
    return text


async def _converse(path: str, question: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(question)
        output = bytearray()
        while chunk := await reader.read(65536):
            output += chunk
            if len(output) > _MAX_OUTPUT:
                raise Refused("bmx7 answered with more than could be read.")
        return bytes(output)
    finally:
        writer.transport.abort()


def _complaint(text: str) -> str:
    lines = [line for line in text.splitlines() if "ERROR" in line] or text.splitlines()
    return printable(" ".join(lines[0].split()) if lines else "no reason given", 160)
