"""A failed test of a guest shows the guest's journal."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from .container import Container


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for container in getattr(item, "funcargs", {}).get("pair", ()):
            assert isinstance(container, Container)
            report.sections.append((f"journal of {container.name}", container.journal()))
