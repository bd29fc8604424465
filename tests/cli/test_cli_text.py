"""Tables, numbers and names as they reach a terminal."""

from __future__ import annotations

import io

import pytest

from bmx7wg.cli.table import Cell, Column, fields, table, wrapped
from bmx7wg.cli.terminal import Terminal, printable, width
from bmx7wg.cli.units import ago, ago_short, counted, natural, rate, size

NOW = 1_800_000_000.0
PLAIN = Terminal()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("n3-roof.example", "n3-roof.example"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("a\nb\tc\rd", "a\\u000ab\\u0009c\\u000dd"),
        ("\x9b2J", "\\u009b2J"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("e\u0301", "e\\u0301"),
        ("é", "é"),
        ("漢字", "漢字"),
        ("\U000e0041", "\\U000e0041"),
        ("no\xa0break", "no\\u00a0break"),
        ("\ud800", "\\ud800"),
    ],
)
def test_only_visible_characters_are_printed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_character_is_printable_afterwards() -> None:
    for code in range(0x11_0000):
        assert all(c == " " or c.isprintable() for c in printable(chr(code))), hex(code)


def test_width_counts_wide_characters_twice() -> None:
    assert (width("abc"), width("漢字"), width("é"), width("")) == (3, 4, 1, 0)


@pytest.mark.parametrize(
    "text, room, middle, shown",
    [
        ("abcdef", 6, False, "abcdef"),
        ("abcdef", 5, False, "abcd…"),
        ("abcdef", 5, True, "ab…ef"),
        ("漢字漢字", 6, False, "漢字…"),
        ("漢字漢字", 4, True, "漢…"),
        ("abc", 1, False, "…"),
        ("abc", 0, False, ""),
    ],
)
def test_cutting(text: str, room: int, middle: bool, shown: str) -> None:
    assert PLAIN.fit(text, room, middle=middle) == shown
    assert width(shown) <= room or width(text) <= room


COLUMNS = (
    Column("NAME", least=6),
    Column("STATE"),
    Column("SENT", right=True, drop=1),
    Column("WHERE", least=8, drop=2),
)
ROWS = [
    [Cell("n1"), Cell("idle", "warn"), Cell("5 B"), Cell("[fe80::1%eth0]:6277", middle=True)],
    [Cell("a-long-name"), Cell("connected"), Cell("12 KiB"), Cell("")],
]


def shown(at: int | None, columns: tuple[Column, ...] = COLUMNS) -> list[str]:
    return list(table(columns, ROWS, Terminal(width=at)))


def test_a_table_with_room_is_not_cut() -> None:
    assert shown(None) == [
        "NAME         STATE        SENT  WHERE",
        "n1           idle          5 B  [fe80::1%eth0]:6277",
        "a-long-name  connected  12 KiB",
    ]


def test_a_table_shrinks_before_it_drops() -> None:
    assert shown(40) == [
        "NAME       STATE        SENT  WHERE",
        "n1         idle          5 B  [fe80…6277",
        "a-long-n…  connected  12 KiB",
    ]
    assert shown(26) == [
        "NAME     STATE        SENT",
        "n1       idle          5 B",
        "a-long…  connected  12 KiB",
    ]


@pytest.mark.parametrize("at", range(17, 120))
def test_no_line_is_wider_than_the_terminal(at: int) -> None:
    lines = shown(at)
    assert max(map(width, lines)) <= at and lines[2].startswith("a-lo")


def test_a_column_without_text_is_left_out() -> None:
    rows = [[Cell("n1"), Cell(""), Cell(""), Cell("")]]
    assert list(table(COLUMNS, rows, PLAIN)) == ["NAME", "n1"]


def test_cells_are_escaped_before_they_are_measured() -> None:
    rows = [
        [Cell("\x1b[1m"), Cell("x"), Cell(""), Cell("")],
        [Cell("漢字"), Cell("y")] + [Cell("")] * 2,
    ]
    assert list(table(COLUMNS, rows, PLAIN)) == [
        "NAME       STATE",
        "\\u001b[1m  x",
        "漢字       y",
    ]


def test_colours_change_no_width() -> None:
    coloured = list(table(COLUMNS, ROWS, Terminal(width=40, colour=True)))
    stripped = [line.replace("\x1b[2m", "").replace("\x1b[33m", "") for line in coloured]
    assert [line.replace("\x1b[0m", "") for line in stripped] == shown(40)
    assert "\x1b[33midle\x1b[0m" in coloured[1]


def test_paragraphs() -> None:
    lines = wrapped("one two three four", Terminal(width=14), head="* ", indent=2)
    assert list(lines) == ["* one two", "  three four"]
    assert list(wrapped("one two three", PLAIN)) == ["  one two three"]
    assert list(wrapped("x" * 30, Terminal(width=10))) == ["  " + "x" * 30]


def test_fields_leave_out_what_is_empty() -> None:
    pairs = (("a", "1"), ("b", ""), ("c", ["2", "3"]), ("d", []))
    assert list(fields(pairs, PLAIN)) == [
        "  a            1",
        "  c            2",
        "               3",
    ]


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1536, "1.50 KiB"),
        (10 * 1024, "10.0 KiB"),
        (123_456, "121 KiB"),
        (1023 * 1024, "1.00 MiB"),
        (2**64 - 1, "16384 PiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    "bits, text",
    [
        (36, "36 bit/s"),
        (32_000_000, "32 Mbit/s"),
        (19_607_000, "19.6 Mbit/s"),
        (999_999, "1 Mbit/s"),
    ],
)
def test_rates(bits: int, text: str) -> None:
    assert rate(bits) == text


@pytest.mark.parametrize(
    "seconds, long, short",
    [
        (0.5, "just now", "0 s"),
        (1, "1 second ago", "1 s"),
        (59, "59 seconds ago", "59 s"),
        (120, "2 minutes ago", "2 min"),
        (7200, "2 hours ago", "2 h"),
        (86400 * 3, "3 days ago", "3 d"),
        (-3600, "1 hour in the future", "-1 h"),
    ],
)
def test_ages(seconds: float, long: str, short: str) -> None:
    then = int((NOW - seconds) * 1e6)
    assert (ago(then, NOW), ago_short(then, NOW)) == (long, short)
    assert (ago(0, NOW), ago_short(0, NOW)) == ("never", "never")


def test_counting_and_sorting() -> None:
    assert [counted(n, "peer") for n in (0, 1, 2)] == ["0 peers", "1 peer", "2 peers"]
    names = ["n10", "N2", "a", "n1", "1", "9" * 70]
    assert sorted(names, key=natural)[:2] == ["1", "9" * 70]
    assert sorted(names, key=natural)[2:] == ["a", "n1", "N2", "n10"]


def test_what_is_known_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    tty = Tty(io.BytesIO(), encoding="utf-8")
    assert Terminal.of(tty).colour and Terminal.of(tty).unicode
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Terminal.of(tty).colour
    monkeypatch.setenv("NO_COLOR", "")
    assert Terminal.of(tty).colour
    monkeypatch.setenv("TERM", "dumb")
    assert not Terminal.of(tty).colour
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert Terminal.of(pipe) == Terminal(width=None, colour=False, unicode=False)
    monkeypatch.setenv("COLUMNS", "123")
    assert Terminal.of(pipe).width == 123
