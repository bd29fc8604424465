from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmx7wg.core.identity import key_text, parse_key
from bmx7wg.core.keys import public_key
from bmx7wg.service.store import NODE_KEY, WIREGUARD_KEY, Store, StoreError, read_secret


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_keys_are_made_once_and_kept(state: Path) -> None:
    first = Store(state)
    wireguard, node = first.wireguard_key(), first.signing_key()
    again = Store(state)
    assert again.wireguard_key() == wireguard
    assert again.signing_key().node_id == node.node_id
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for name in (WIREGUARD_KEY, NODE_KEY):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600
    assert sorted(os.listdir(state)) == sorted((WIREGUARD_KEY, NODE_KEY))


def test_the_key_file_is_what_wg_understands(state: Path) -> None:
    key = Store(state).wireguard_key()
    with open(state / WIREGUARD_KEY, "rb") as file:
        public = subprocess.run(["wg", "pubkey"], stdin=file, capture_output=True, check=True)
    assert parse_key(public.stdout.decode().strip()) == public_key(key)


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 44, b"x" * 44, b"\xff" * 5000])
def test_a_damaged_key_is_an_error_and_stays_as_it_is(state: Path, content: bytes) -> None:
    store = Store(state)
    path = state / WIREGUARD_KEY
    path.write_bytes(content)
    with pytest.raises(StoreError, match="put it back from a backup, or delete it") as caught:
        store.wireguard_key()
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_key_that_is_a_directory_or_fifo_is_an_error(state: Path) -> None:
    store = Store(state)
    (state / WIREGUARD_KEY).mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        store.wireguard_key()
    os.mkfifo(state / NODE_KEY)
    with pytest.raises(StoreError, match="not a regular file"):
        store.signing_key()


def test_an_open_directory_is_closed(state: Path) -> None:
    state.mkdir(mode=0o755)
    Store(state)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_file_in_place_of_the_directory(state: Path) -> None:
    state.write_text("")
    with pytest.raises(StoreError, match="File exists"):
        Store(state)


def test_the_sequence_survives_and_rubbish_in_it_does_no_harm(state: Path) -> None:
    store = Store(state)
    assert store.sequence() == 0
    store.save_sequence(1_700_000_000_000_000)
    assert Store(state).sequence() == 1_700_000_000_000_000
    for rubbish in ("", "x", "-5", "9" * 50, "١٢"):
        (state / "sequence").write_text(rubbish)
        assert store.sequence() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB: full with four pages."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", where], check=True)
    yield where
    subprocess.run(["umount", where], check=True)


def test_a_full_disk_leaves_what_was_there(small_disk: Path) -> None:
    store = Store(small_disk)
    store.write("kept", b"old")
    (small_disk / "filler").write_bytes(b"x" * (12 * 1024))
    with pytest.raises(StoreError, match="No space left on device"):
        store.write("kept", b"n" * 8192)
    assert (small_disk / "kept").read_bytes() == b"old"
    assert sorted(os.listdir(small_disk)) == ["filler", "kept"]
    with pytest.raises(StoreError, match="wireguard.key: can't be written: No space left"):
        (small_disk / "more").write_bytes(b"")
        store.wireguard_key()


def test_a_disk_that_can_not_be_written(small_disk: Path) -> None:
    store = Store(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match="can't be written: Read-only file system"):
        store.wireguard_key()
    with pytest.raises(StoreError, match="Read-only file system"):
        Store(small_disk / "below")


def test_the_mesh_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert read_secret("") == b""
    path.write_text("  our secret\n")
    assert read_secret(str(path)) == b"our secret"
    for bad in ("", " \n", "x" * 4097):
        path.write_text(bad)
        with pytest.raises(StoreError, match="needs 1 to 4096 bytes"):
            read_secret(str(path))
    with pytest.raises(StoreError, match="No such file"):
        read_secret(str(tmp_path / "absent"))


def test_keys_are_told_to_nobody(state: Path) -> None:
    store = Store(state)
    secret = key_text(store.wireguard_key())
    assert secret not in repr(store)
