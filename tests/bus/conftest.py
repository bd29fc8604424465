from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import Daemon


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for a bus that other users may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="bmx7wg-bus-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def daemon(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A running bus, which is the system bus for the time of the test."""
    bus = Daemon(place)
    bus.start()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    yield bus
    bus.stop()
