"""The packages where no systemd runs, as in a chroot or while an image is built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..built import offer
from ..system import roots
from ..system.guests import SUITES, container_root, files

NOT_RUNNING = 4  # bmx7-wg's exit status


@pytest.fixture(params=SUITES)
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    with roots.scratch(f"chroot-{request.param}") as directory:
        roots.copy(container_root(request.param).path(), directory)
        offer(directory)
        roots.run(directory, "apt-get -qq update")
        yield directory


def install(root: Path) -> None:
    roots.run(root, "apt-get -qq install bmx7-wg bmx7-wg-lab")


def test_install_remove_purge(root: Path) -> None:
    before = files(root)
    install(root)
    wanted = root / "etc/systemd/system/multi-user.target.wants/bmx7-wg.service"
    assert wanted.is_symlink()
    assert not (root / "var/lib/bmx7-wg").exists()  # the service makes its own, at its first start

    for command in ("bmx7-wg --version", "bmx7-wgd --version", "bmx7-wg-lab --version"):
        assert "0." in roots.run(root, command)
    roots.run(root, "bmx7-wg config check")
    roots.run(root, f"bmx7-wg status; test $? = {NOT_RUNNING}")

    (root / "etc/bmx7-wg/config.toml").write_text('[node]\nname = "mine"\n')
    roots.run(root, "apt-get -qq remove bmx7-wg bmx7-wg-lab")
    assert not {path for path in files(root) - before if path.startswith("./usr/")}
    install(root)
    assert "mine" in (root / "etc/bmx7-wg/config.toml").read_text()

    roots.run(root, "apt-get -qq purge bmx7-wg bmx7-wg-lab")
    assert files(root) - before == set()
