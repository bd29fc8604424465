"""A failed test of a guest shows the guest's journal; SIGTERM ends a run as Ctrl-C does."""

from __future__ import annotations

import signal
from collections.abc import Generator
from typing import Any

import pytest

from .container import Container


def pytest_configure() -> None:
    # Else a run that is told to end leaves guests, a namespace and gigabytes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for container in getattr(item, "funcargs", {}).get("pair", ()):
            assert isinstance(container, Container)
            report.sections.append((f"journal of {container.name}", container.journal()))
