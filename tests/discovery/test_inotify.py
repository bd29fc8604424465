"""inotify over the C library, against the real kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmx7wg.discovery import inotify
from bmx7wg.discovery.inotify import Event, Inotify, parse_events

from .waiting import until

ALL = 0xFFF


def test_a_file_s_life_arrives_in_order(tmp_path, run_async):
    async def main() -> None:
        seen: list[Event] = []
        notify = Inotify(seen.extend)
        watch = notify.add(str(tmp_path), ALL & ~0x31)  # not: access, open, close unwritten
        path = tmp_path / "f"
        path.write_text("x")
        path.rename(tmp_path / "g")
        (tmp_path / "g").unlink()
        await until(lambda: seen and seen[-1].mask & inotify.IN_DELETE, "the deletion")
        notify.close()
        assert [(e.watch, e.mask, e.name) for e in seen] == [
            (watch, inotify.IN_CREATE, b"f"),
            (watch, inotify.IN_MODIFY, b"f"),
            (watch, inotify.IN_CLOSE_WRITE, b"f"),
            (watch, inotify.IN_MOVED_FROM, b"f"),
            (watch, inotify.IN_MOVED_TO, b"g"),
            (watch, inotify.IN_DELETE, b"g"),
        ]

    run_async(main())


def test_names_are_bytes_as_on_disk(tmp_path, run_async):
    async def main() -> None:
        seen: list[Event] = []
        notify = Inotify(seen.extend)
        notify.add(str(tmp_path), inotify.IN_CREATE)
        names = [b"\xff\xfe", b"a\nb", "ü".encode(), b"n" * 255]
        for name in names:
            os.close(os.open(os.path.join(os.fsencode(tmp_path), name), os.O_CREAT))
        await until(lambda: len(seen) == len(names), "four events")
        notify.close()
        assert [event.name for event in seen] == names

    run_async(main())


def test_the_same_directory_has_one_watch_which_ends_with_it(tmp_path, run_async):
    async def main() -> None:
        seen: list[Event] = []
        notify = Inotify(seen.extend)
        directory = tmp_path / "d"
        directory.mkdir()
        watch = notify.add(str(directory), inotify.IN_DELETE_SELF)
        assert notify.add(str(directory), inotify.IN_DELETE_SELF) == watch
        directory.rmdir()
        await until(lambda: len(seen) == 2, "the end of the watch")
        assert [event.mask for event in seen] == [inotify.IN_DELETE_SELF, inotify.IN_IGNORED]
        notify.remove(watch)  # gone already, which is no error
        notify.close()
        notify.close()

    run_async(main())


def test_what_cannot_be_watched_is_said(tmp_path, run_async):
    async def main() -> None:
        notify = Inotify(lambda events: None)
        (tmp_path / "file").touch()
        with pytest.raises(FileNotFoundError) as missing:
            notify.add(str(tmp_path / "none"), inotify.IN_CREATE)
        assert missing.value.filename == str(tmp_path / "none")
        with pytest.raises(NotADirectoryError):
            notify.add(str(tmp_path / "file"), inotify.IN_CREATE)
        notify.close()

    run_async(main())


def test_lost_events_are_told(tmp_path, run_async):
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())

    async def main() -> None:
        seen: list[Event] = []
        notify = Inotify(seen.extend)
        notify.add(str(tmp_path), inotify.IN_CREATE | inotify.IN_DELETE)
        one, two = str(tmp_path / "1"), str(tmp_path / "2")
        for _ in range(limit // 4 + 10):  # equal events that follow each other count as one
            for path in (one, two):
                os.close(os.open(path, os.O_CREAT))
                os.unlink(path)
        await until(lambda: seen and seen[-1].mask & inotify.IN_Q_OVERFLOW, "the overflow")
        notify.close()
        assert seen[-1].watch == -1
        assert len(seen) == limit + 1

    run_async(main())


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, ALL), st.binary(max_size=255))))
def test_parsing_finds_what_was_packed(events):
    data = b""
    wanted = []
    for watch, mask, name in events:
        name = name.replace(b"\0", b"")
        padded = name + b"\0" * (-len(name) % 16)
        data += inotify._EVENT.pack(watch, mask, 0, len(padded)) + padded
        wanted.append(Event(watch, mask, name))
    assert parse_events(data) == wanted
