"""What there is to complete of ``bmx7-wg``, read off its parser; `shells` writes it down.

All words and texts come from this program, except those of `ASKED`, which `candidates` prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .states import STATES

#: Metavars of what the service is asked for.
ASKED: Final = ("NODE", "NETWORK", "SEARCH")


@dataclass(frozen=True)
class Value:
    """What may follow an option or stand as argument."""

    metavar: str  # of `ASKED`, FILE and DIR say what it is
    words: tuple[str, ...] = ()  # all that is possible, where that is known


@dataclass(frozen=True)
class Option:
    names: tuple[str, ...]
    help: str
    value: Value | None  # None: a switch
    repeats: bool


@dataclass(frozen=True)
class Command:
    """A parser: bmx7-wg itself, a verb, or a verb of a verb."""

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    argument: Value | None
    verbs: tuple[Command, ...]

    @property
    def name(self) -> str:
        return self.path[-1]

    def all(self) -> Iterator[Command]:
        """This one and all below."""
        yield self
        for verb in self.verbs:
            yield from verb.all()


def command(parser: argparse.ArgumentParser, path: tuple[str, ...] = (), text: str = "") -> Command:
    options, verbs = [], []
    argument = None
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            # Those that help lists: the others are for programs.
            for listed in action._choices_actions:
                below = (*path, listed.dest)
                verbs.append(command(action.choices[listed.dest], below, listed.help or ""))
        elif action.option_strings:
            options.append(_option(action))
        else:
            argument = _value(action)
    return Command(path, text, tuple(options), argument, tuple(verbs))


def _option(action: argparse.Action) -> Option:
    return Option(
        names=tuple(action.option_strings),
        help=action.help or "",
        value=None if action.nargs == 0 else _value(action),
        repeats=isinstance(action, argparse._AppendAction),
    )


def _value(action: argparse.Action) -> Value:
    metavar = str(action.metavar or action.dest)
    return Value(metavar, tuple(STATES) if metavar == "STATE" else tuple(action.choices or ()))
