"""The packages that "make deb" made: what the tests of packages and of booted systems install."""

from __future__ import annotations

from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[1] / "build" / "deb"
SOURCE = DIRECTORY / "bmx7-wg.tar"  # what they were made of


def package(name: str) -> Path:
    """The newest .deb of this name; a failure, not a skip, without one."""
    found = sorted(DIRECTORY.glob(f"{name}_*.deb"))
    assert found, f"no {name}_*.deb in {DIRECTORY}: run make deb"
    return found[-1]
