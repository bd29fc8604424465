"""Runs the command ``bmx7 … -c``, the way in which a running bmx7 is asked and told things."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from .bmx7_daemon import is_listening
from .text import printable

_MAX_OUTPUT: Final = 16 * 1024 * 1024  # bytes; 10,000 nodes have tables of 5 MB


class CommandError(Exception):
    """The command is missing, was refused, or did not answer; the text is a whole sentence."""


class NoCommand(CommandError):
    """The command can't be run."""


class Unanswered(CommandError):
    """There is no daemon, or it hangs."""


class Refused(CommandError):
    """bmx7 answered that it can't do this."""


async def run(command: str, runtime_dir: str, *words: str, limit: float) -> str:
    """What ``bmx7 runtimeDir=DIR -c WORDS`` prints, within *limit* seconds; raises CommandError.

    It is not run when no daemon listens: it would make the runtime directory anew.
    """
    if not is_listening(os.path.join(runtime_dir, "sock")):
        raise Unanswered("bmx7 is not running.")
    try:
        process = await asyncio.create_subprocess_exec(
            command,
            f"runtimeDir={runtime_dir}",
            "-c",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
    except OSError as error:
        raise NoCommand(
            f"The command {command} can't be run: {error.strerror}. Install it, "
            "or say where it is with command= in [discovery.bmx7]."
        ) from None
    try:
        async with asyncio.timeout(limit):
            output = await _read(process)
            status = await process.wait()
    except TimeoutError:
        raise Unanswered(f"bmx7 did not answer within {limit:g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode("utf-8", "replace")
    if "can't connect to unix socket" in text:
        raise Unanswered("bmx7 is not running.")
    if status != 0:
        raise Refused(f"bmx7 refused {' '.join(words)}: {_complaint(text)}")
    return text


async def _read(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    output = bytearray()
    while chunk := await process.stdout.read(65536):
        output += chunk
        if len(output) > _MAX_OUTPUT:
            raise Refused("bmx7 answered with more than could be read.")
    return bytes(output)


def _complaint(text: str) -> str:
    lines = [line for line in text.splitlines() if "ERROR" in line] or text.splitlines()
    return printable(" ".join(lines[0].split()) if lines else "no reason given", 160)
