"""The source package, built where nothing but what it asks for is installed, in each release."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..system import roots
from ..system.guests import SUITES, container_root
from . import clean
from .clean import Build


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def built(suite: str) -> Iterator[Build]:
    with roots.scratch(f"build-{suite}") as root:
        yield clean.build(suite, root)


@pytest.fixture
def scratch(suite: str) -> Iterator[Path]:
    with roots.scratch(f"packaging-{suite}") as directory:
        yield directory


def packages(directory: Path) -> dict[str, bytes]:
    found = {file.name: file.read_bytes() for file in directory.glob("*.deb")}
    assert len(found) == 2
    return found


def test_its_tests_run_while_it_is_built(built: Build) -> None:
    (passed,) = re.findall(r"=+ (.*) in [0-9.]+s.* =+", built.log)
    assert re.fullmatch(r"[0-9]{3,} passed(, [0-9]+ deselected)?", passed), passed


def test_every_build_is_the_same(built: Build) -> None:
    """Whoever builds it, where, when, in what language, and how many times."""
    assert packages(built.first) == packages(built.second)


def test_it_is_installed_where_it_was_built(suite: str, built: Build, scratch: Path) -> None:
    roots.copy(container_root(suite).path(), scratch)
    for file in built.first.glob("*.deb"):
        shutil.copy(file, scratch / "srv")
    roots.run(scratch, "apt-get -qq install /srv/*.deb")
    for command in ("bmx7-wg", "bmx7-wgd", "bmx7-wg-lab"):
        roots.run(scratch, f"{command} --version")
    roots.run(scratch, "bmx7-wg config check")
