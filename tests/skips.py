"""A pytest plugin: a skip whose reason is not on the list in tests/README.md fails the run.

Loaded by tests/check with "-p tests.skips".
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

README = Path(__file__).with_name("README.md")
unexpected: list[str] = []


def allowed_reasons() -> list[str]:
    """The patterns in the section "Allowed skips": each item's first words in backquotes."""
    section = README.read_text().partition("## Allowed skips")[2].partition("\n## ")[0]
    return re.findall(r"(?m)^- `([^`]+)`", section)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _judge(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _judge(report)


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        assert isinstance(report.longrepr, tuple)
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not any(fnmatch.fnmatchcase(reason, pattern) for pattern in allowed_reasons()):
            unexpected.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if unexpected and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if unexpected:
        terminalreporter.section("skipped, but not allowed by tests/README.md", red=True)
        for line in unexpected:
            terminalreporter.line(line)
