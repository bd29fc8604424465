"""The packages that "make deb" made: what the tests of packages and of booted systems install."""

from __future__ import annotations

from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[1] / "build" / "deb"


def package(name: str) -> Path:
    """The newest .deb of this name; a failure, not a skip, without one."""
    found = sorted(DIRECTORY.glob(f"{name}_*.deb"))
    assert found, f"no {name}_*.deb in {DIRECTORY}: run make deb"
    return found[-1]
