"""The service manager's side of sd_notify(3): hears how a service does."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path


class NotifySocket:
    """Receives a service's notifications and remembers the last of each kind, with its time.

    A thread reads at once: a service must not wait for a full queue.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))
        self._news = threading.Condition()
        self._last: dict[str, tuple[str, float]] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def clear(self) -> None:
        """Forget what was said, before a service starts again."""
        with self._news:
            self._last.clear()

    def last(self, name: str) -> tuple[str, float] | None:
        """The newest value of a field and when it came (monotonic, s)."""
        with self._news:
            return self._last.get(name)

    def wait(self, name: str, timeout: float) -> float | None:
        """Wait for a field; when it came (monotonic, s), None when it didn't."""
        with self._news:
            self._news.wait_for(lambda: name in self._last, timeout)
            return self._last[name][1] if name in self._last else None

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # ends the thread, which closes it

    def _read(self) -> None:
        with self._socket:
            while message := self._socket.recv(4096):
                now = time.monotonic()
                with self._news:
                    for line in message.decode(errors="replace").splitlines():
                        name, _, value = line.partition("=")
                        self._last[name] = (value, now)
                    self._news.notify_all()
