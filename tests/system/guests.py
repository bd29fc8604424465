"""What the guests hold, and questions to the service in one of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ..built import offer
from .container import Container
from .roots import Root

SUITES = ("bookworm", "trixie")

NAME = "org.bmx7.WireGuard1"
PATH = "/org/bmx7/WireGuard1"

# What the packages depend on, so that a guest without a network can install them.
DEPENDENCIES = (
    "dbus",
    "iproute2",
    "iputils-ping",
    "python3",
    "python3-cryptography",
    "python3-dbus-next",
    "python3-pyroute2",
    "python3-systemd",
    "systemd",
    "systemd-sysv",
    "wireguard-go",
)


def container_root(suite: str) -> Root:
    return Root(suite, DEPENDENCIES)


def machine_root(suite: str) -> Root:
    """With Debian's kernel and what tests/device needs."""
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    kernel = f"linux-image-cloud-{architecture}"
    testing = ("python3-hypothesis", "python3-pytest", "wireguard-tools")
    return Root(suite, (*DEPENDENCIES, kernel, *testing))


def install(container: Container) -> None:
    """From the repository that `make repo` made, as from any archive."""
    if not (container.root / "srv/bmx7-wg").exists():
        offer(container.root)
        container.run("apt-get -qq update")
    container.run("apt-get -qq install bmx7-wg")


def read(container: Container, object_path: str, interface: str, name: str) -> Any:
    """A property of one of the service's objects, by busctl."""
    command = (
        f"busctl --json=short get-property {NAME} {PATH}{object_path} {NAME}.{interface} {name}"
    )
    return json.loads(container.run(command).output)["data"]


def mesh_address(container: Container) -> str:
    """Without the prefix length."""
    (address,) = read(container, "/device", "Device", "Addresses")
    return str(address).partition("/")[0]


def main_pid(container: Container) -> int:
    shown = container.run("systemctl show --property=MainPID --value bmx7-wg").output
    return int(shown)


def connect(one: Container, other: Container) -> None:
    """Wait until the two answer each other's pings over the mesh."""
    for here, there in ((one, other), (other, one)):
        here.wait(f"ping -6 -c 1 -W 1 {mesh_address(there)}")


def files(root: Path) -> set[str]:
    """Every path below a root that a package could leave there, without what apt and dpkg write."""
    ignored = (
        "dev proc sys tmp run srv etc/apt var/cache var/log var/lib/apt var/lib/dpkg"
        " var/lib/systemd/timers var/lib/systemd/catalog var/tmp root"
    ).split()
    prune: list[str] = []
    for name in ignored:
        prune += ["-path", f"./{name}", "-prune", "-o"]
    found = subprocess.run(
        ["find", ".", *prune, "-print"], cwd=root, capture_output=True, text=True, check=True
    )
    return set(found.stdout.splitlines())
