"""Tables and paragraphs that fit their terminal.

Columns of a table shrink first; when that is not enough, the least important ones go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from .terminal import Terminal, printable, width

_GAP: Final = 2
_LABEL: Final = 13


@dataclass(frozen=True)
class Column:
    """``least`` is the width that it may shrink to (0: never cut); the column with the highest
    ``drop`` goes first when even that is too wide (0: never goes)."""

    title: str
    least: int = 0
    drop: int = 0
    right: bool = False


@dataclass(frozen=True)
class Cell:
    text: str
    style: str = ""
    middle: bool = False  # to be cut in the middle: both ends tell something


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], terminal: Terminal, indent: int = 0
) -> Iterator[str]:
    """The lines of a table, heading first; a column without any text is left out."""
    shown = [
        (column, [replace(row[index], text=printable(row[index].text)) for row in rows])
        for index, column in enumerate(columns)
        if any(row[index].text for row in rows)
    ]
    sizes = [
        max(len(column.title), max(width(cell.text) for cell in cells)) for column, cells in shown
    ]
    if terminal.width is not None:
        room = terminal.width - indent
        while (victim := _to_drop([column for column, _ in shown], sizes, room)) is not None:
            del shown[victim], sizes[victim]
        _shrink([column for column, _ in shown], sizes, room)

    yield _line(
        [(column, size, Cell(column.title, "dim")) for (column, _), size in zip(shown, sizes)],
        terminal,
        indent,
    )
    for index in range(len(rows)):
        yield _line(
            [(column, size, cells[index]) for (column, cells), size in zip(shown, sizes)],
            terminal,
            indent,
        )


def fields(pairs: Iterable[tuple[str, str | Sequence[str]]], terminal: Terminal) -> Iterator[str]:
    """The lines of a list of labels and values, a line for each value; empty ones are left out."""
    for label, value in pairs:
        values = [value] if isinstance(value, str) else value
        for number, text in enumerate(filter(None, values)):
            head = "" if number else label
            yield f"  {terminal.paint(head, 'dim')}{' ' * (_LABEL - len(head))}{printable(text)}"


def wrapped(
    text: str, terminal: Terminal, *, head: str = "", indent: int = 2, style: str = ""
) -> Iterator[str]:
    """The lines of *text*, broken between words, indented, the first one after *head*."""
    head = head or " " * indent
    line, *words = printable(text).split(" ")
    for word in words:
        if terminal.width and indent + width(line) + 1 + width(word) > terminal.width:
            yield head + terminal.paint(line, style)
            head, line = " " * indent, word
        else:
            line += " " + word
    yield head + terminal.paint(line, style)


def _least(column: Column, size: int) -> int:
    return min(size, column.least) if column.least else size


def _to_drop(columns: Sequence[Column], sizes: Sequence[int], room: int) -> int | None:
    needed = sum(map(_least, columns, sizes)) + _GAP * (len(columns) - 1)
    last = max(range(len(columns)), key=lambda index: columns[index].drop, default=None)
    if needed <= room or last is None or not columns[last].drop:
        return None
    return last


def _shrink(columns: Sequence[Column], sizes: list[int], room: int) -> None:
    excess = sum(sizes) + _GAP * (len(columns) - 1) - room
    while excess > 0:
        elastic = [i for i, column in enumerate(columns) if sizes[i] > _least(column, sizes[i])]
        if not elastic:
            return
        sizes[max(elastic, key=lambda index: sizes[index])] -= 1
        excess -= 1


def _line(cells: Sequence[tuple[Column, int, Cell]], terminal: Terminal, indent: int) -> str:
    parts = []
    for number, (column, size, cell) in enumerate(cells, 1):
        text = terminal.fit(cell.text, size, middle=cell.middle)
        padding = " " * (size - width(text))
        painted = terminal.paint(text, cell.style)
        if column.right:
            painted = padding + painted
        elif number < len(cells):
            painted += padding
        parts.append(painted)
    return (" " * indent + (" " * _GAP).join(parts)).rstrip()
