from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bmx7wg.service.notify import Notifier


def test_each_thing_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        notifier = Notifier()
        assert notifier.watchdog == 1.5
        notifier.status("one")
        notifier.status("one")
        notifier.ready()
        notifier.reloading()
        notifier.alive()
        notifier.stopping()
        said = [listener.recv(1000).decode() for _ in range(5)]
    assert said[:2] == ["STATUS=one", "READY=1"]
    assert said[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said[3:] == ["WATCHDOG=1", "STOPPING=1"]


def test_a_listener_that_went_away_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    Notifier().ready()
    Path(path).unlink()
    Notifier().ready()


def test_without_systemd_there_is_no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    notifier = Notifier()
    assert notifier.watchdog is None
    notifier.alive()
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier().watchdog is None
