"""The life of a package: upgraded, downgraded, beside a device of the administrator's, and judged
by its own autopkgtests, in a booted system of each release.

The tests of one release share its container and build on one another in the order of this file.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from ..built import PREVIOUS, SOURCE, offer, package, previous
from .container import Container, booted
from .guests import DEPENDENCIES, SUITES, read
from .roots import Root

CONFIGURATION = "/etc/bmx7-wg/config.toml"
MINE = '# Mine.\n[node]\nname = "mine"\n'

# What debian/tests/control asks for, and the program that reads it, with what it needs itself.
TESTING = ("autopkgtest", "dpkg-dev", "polkitd", "python3-hypothesis", "python3-pytest")
# "wireguard" needs a kernel with WireGuard: test_machine.py runs it.
TESTS = ("unit", "bus", "hardening", "purge")


@pytest.fixture(scope="module", params=SUITES)
def container(request: pytest.FixtureRequest) -> Iterator[Container]:
    with booted(Root(request.param, (*DEPENDENCIES, *TESTING)), 1) as (one,):
        # A tunnel of the administrator's own.
        one.run("systemd-run --quiet --unit=own wireguard-go --foreground wg0")
        one.wait("ip link set wg0 up && ip address add fd88::1/64 dev wg0")
        offer(one.root)
        one.run("apt-get -qq update")
        yield one


@pytest.fixture(scope="module")
def own_tunnel(container: Container) -> str:
    return own(container)


def own(container: Container) -> str:
    return container.run("ip -oneline address show dev wg0; ls /run/wireguard/wg0.sock").output


def version(container: Container) -> str:
    return container.run("dpkg-query -W -f '${Version}' bmx7-wg").output


def apt_install(container: Container, what: str) -> None:
    # What is asked about a changed conffile, answered as unattended upgrades do.
    container.run(f"apt-get -qq -o Dpkg::Options::=--force-confold install {what}")


def test_without_any_wireguard_it_is_installed_and_says_what_is_missing(
    container: Container, own_tunnel: str
) -> None:
    file = previous("bmx7-wg", container.root / "srv")
    container.run("mv /usr/bin/wireguard-go /usr/bin/wireguard-gone")
    apt_install(container, f"/srv/{file.name}")
    assert version(container) == PREVIOUS
    said = container.wait("journalctl --boot --unit=bmx7-wg | grep wireguard-go")
    assert "kernel" in said
    container.run("mv /usr/bin/wireguard-gone /usr/bin/wireguard-go")
    container.wait("ip link show dev wgBmx7")


def test_an_upgrade_keeps_the_identity_and_the_administrators_files(
    container: Container, own_tunnel: str
) -> None:
    container.run("systemctl restart bmx7-wg")
    identity = read(container, "", "Manager", "NodeId")
    (container.root / CONFIGURATION.lstrip("/")).write_text(MINE)
    (container.root / "etc/bmx7-wg/conf.d/mine.toml").write_text("# Mine.\n")

    start = time.monotonic()
    apt_install(container, "bmx7-wg")
    print(f"{container.name}: upgraded in {time.monotonic() - start:.1f} s")
    assert version(container) == package("bmx7-wg").name.split("_")[1]
    container.run("systemctl is-active bmx7-wg")
    assert read(container, "", "Manager", "NodeId") == identity
    assert read(container, "", "Manager", "NodeName") == "mine"
    assert (container.root / CONFIGURATION.lstrip("/")).read_text() == MINE
    assert (container.root / "etc/bmx7-wg/conf.d/mine.toml").exists()
    assert own(container) == own_tunnel


def test_a_downgrade_is_refused_unless_forced_and_then_safe(
    container: Container, own_tunnel: str
) -> None:
    identity = read(container, "", "Manager", "NodeId")
    newest = version(container)
    file = previous("bmx7-wg", container.root / "srv").name
    refused = container.run(f"apt-get -qq install /srv/{file}", check=False)
    assert refused.status != 0 and "downgrade" in refused.output
    assert version(container) == newest
    apt_install(container, f"--allow-downgrades /srv/{file}")
    assert version(container) == PREVIOUS
    container.run("systemctl is-active bmx7-wg")
    assert read(container, "", "Manager", "NodeId") == identity
    assert read(container, "", "Manager", "NodeName") == "mine"
    assert own(container) == own_tunnel


def test_its_autopkgtests_pass(container: Container, own_tunnel: str) -> None:
    """With the packages as they were built, by the program that Debian runs."""
    mine = container.root / "etc/bmx7-wg/conf.d/mine.toml"
    container.run("apt-get -qq purge bmx7-wg")
    assert mine.exists()
    mine.unlink()
    shutil.unpack_archive(SOURCE, container.root / "srv/tree")
    packages = [package(name) for name in ("bmx7-wg", "bmx7-wg-lab")]
    for file in packages:
        shutil.copy(file, container.root / "srv")
    names = " ".join(f"/srv/{file.name}" for file in packages)
    chosen = " ".join(f"--test-name={name}" for name in TESTS)
    # The container is what the restrictions ask for, and is thrown away afterwards.
    done = container.run(
        f"autopkgtest --no-built-binaries {chosen} --output-dir=/srv/log"
        " --ignore-restrictions=isolation-container,breaks-testbed"
        f" {names} /srv/tree -- null",
        timeout=400,
        check=False,
    )
    summary = (container.root / "srv/log/summary").read_text()
    print(summary)
    print(done.output)
    passed = {line.split()[0] for line in summary.splitlines() if line.split()[1] == "PASS"}
    assert passed == set(TESTS)
    # Newer ones tell of "wireguard" as skipped though it was not chosen, and say so with a 2.
    assert done.status in (0, 2)
    assert own(container) == own_tunnel
