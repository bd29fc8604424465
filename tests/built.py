"""The packages that "make repo" made: what the tests of packages and of booted systems install."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build"
DIRECTORY = BUILD / "deb"
PREVIOUS = "0.1.0-1"  # a version; what "previous" makes
SOURCE = DIRECTORY / "bmx7-wg.tar"  # what they were made of


def package(name: str) -> Path:
    """The newest .deb of this name; a failure, not a skip, without one."""
    found = sorted(DIRECTORY.glob(f"{name}_*.deb"))
    assert found, f"no {name}_*.deb in {DIRECTORY}: run make repo"
    return found[-1]


def offer(root: Path) -> None:
    """Make a root file system's only apt source the repository that "make repo" made."""
    repository = BUILD / "repo"
    assert repository.is_dir(), f"no {repository}: run make repo"
    apt = root / "etc/apt"
    for others in (apt / "sources.list", *(apt / "sources.list.d").iterdir()):
        others.unlink(missing_ok=True)
    there = Path("/srv/bmx7-wg")
    shutil.copytree(repository, root / there.relative_to("/"))
    source = (repository / "bmx7-wg.sources").read_text()
    (apt / "sources.list.d/bmx7-wg.sources").write_text(source.replace(str(repository), str(there)))


def previous(name: str, directory: Path) -> Path:
    """The package as if it had been made earlier, with another default of the configuration.

    All else is the same, so an upgrade from it shows what an upgrade as such does.
    """
    newest = package(name)
    tree = directory / f"{name}.previous"
    file = directory / newest.name.replace(_version(newest), PREVIOUS)
    _dpkg_deb("--raw-extract", newest, tree)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(_version(newest), PREVIOUS))
    configuration = tree / "etc/bmx7-wg/config.toml"
    if configuration.exists():
        configuration.write_text("# An earlier default.\n")
    _dpkg_deb("--root-owner-group", "--build", tree, file)
    shutil.rmtree(tree)
    return file


def _version(file: Path) -> str:
    return file.name.split("_")[1]


def _dpkg_deb(*arguments: str | Path) -> None:
    subprocess.run(["dpkg-deb", *arguments], check=True, stdout=subprocess.DEVNULL)
