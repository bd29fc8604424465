"""What the built packages hold and say."""

from __future__ import annotations

import subprocess
import tarfile
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest

from ..built import SOURCE, package

MODULES = "usr/lib/python3/dist-packages"
INSTALLED_SIZE = 1024  # KiB; without dependencies

PACKAGES = ("bmx7-wg", "bmx7-wg-lab")

SERVICE_FILES = {
    "etc/bmx7-wg/conf.d/README",
    "etc/bmx7-wg/config.toml",
    "usr/bin/bmx7-wg",
    "usr/lib/NetworkManager/conf.d/80-bmx7-wg.conf",
    "usr/lib/systemd/network/00-bmx7-wg.network",
    "usr/lib/systemd/system/bmx7-wg.service",
    "usr/lib/tmpfiles.d/bmx7-wg.conf",
    "usr/sbin/bmx7-wgd",
    "usr/share/bash-completion/completions/bmx7-wg",
    "usr/share/dbus-1/interfaces/org.bmx7.WireGuard1.xml",
    "usr/share/dbus-1/system-services/org.bmx7.WireGuard1.service",
    "usr/share/dbus-1/system.d/org.bmx7.WireGuard1.conf",
    "usr/share/fish/vendor_completions.d/bmx7-wg.fish",
    "usr/share/man/man1/bmx7-wg.1.gz",
    "usr/share/man/man5/bmx7-wg.toml.5.gz",
    "usr/share/man/man5/org.bmx7.WireGuard1.5.gz",
    "usr/share/man/man8/bmx7-wgd.8.gz",
    "usr/share/polkit-1/actions/org.bmx7.WireGuard1.policy",
    "usr/share/zsh/vendor-completions/_bmx7-wg",
}
LAB_FILES = {"usr/bin/bmx7-wg-lab", "usr/share/man/man1/bmx7-wg-lab.1.gz"}


@cache
def members(name: str) -> dict[str, tarfile.TarInfo]:
    """The files (no directories) by path; /lib is /usr/lib, as on every installed system."""
    archive = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(package(name))], capture_output=True, check=True
    ).stdout
    found = {}
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        for member in tar:
            path = member.name.removeprefix("./")
            if not member.isdir():
                found[f"usr/{path}" if path.startswith("lib/") else path] = member
    return found


def field(name: str, field_name: str) -> str:
    return subprocess.run(
        ["dpkg-deb", "--field", str(package(name)), field_name],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def modules(directory: str) -> set[str]:
    """The Python files below a directory of the source, as their paths in a package."""
    with tarfile.open(SOURCE) as tar:
        names = tar.getnames()
    return {
        f"{MODULES}/{name}"
        for name in names
        if name.startswith(f"{directory}/") and name.endswith(".py")
    }


def without_modules_and_documents(name: str) -> set[str]:
    ignored = (MODULES, "usr/share/doc/", "usr/share/lintian/")
    return {path for path in members(name) if not path.startswith(ignored)}


def test_each_file_has_its_place() -> None:
    assert without_modules_and_documents("bmx7-wg") == SERVICE_FILES
    assert without_modules_and_documents("bmx7-wg-lab") == LAB_FILES


def test_every_module_is_in_exactly_one_package() -> None:
    lab = modules("bmx7wg/lab")
    packed = {
        name: {path for path in members(name) if path.startswith(MODULES) and path.endswith(".py")}
        for name in PACKAGES
    }
    assert lab
    assert packed == {"bmx7-wg": modules("bmx7wg") - lab, "bmx7-wg-lab": lab}


def test_the_contract_is_installed_once() -> None:
    link = members("bmx7-wg")[f"{MODULES}/bmx7wg/bus/org.bmx7.WireGuard1.xml"]
    assert link.issym()
    target = Path(f"/{MODULES}/bmx7wg/bus") / link.linkname
    assert str(target.resolve()) == "/usr/share/dbus-1/interfaces/org.bmx7.WireGuard1.xml"


@pytest.mark.parametrize("name", PACKAGES)
def test_files_are_roots_and_nobody_else_may_write(name: str) -> None:
    for path, member in members(name).items():
        assert (member.uid, member.gid) == (0, 0), path
        executable = "/bin/" in path or "/sbin/" in path
        if not member.issym():
            assert member.mode == (0o755 if executable else 0o644), path


def test_conffiles_are_the_configuration() -> None:
    listed = subprocess.run(
        ["dpkg-deb", "--info", str(package("bmx7-wg")), "conffiles"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert sorted(listed) == ["/etc/bmx7-wg/conf.d/README", "/etc/bmx7-wg/config.toml"]


def test_dependencies_are_those_of_the_metadata() -> None:
    depends = field("bmx7-wg", "Depends")
    for name in ("cryptography", "dbus-next", "pyroute2", "systemd"):
        assert f"python3-{name}" in depends
    assert "wireguard" not in depends  # the kernel's will do
    assert "wireguard-go" in field("bmx7-wg", "Recommends")
    assert f"bmx7-wg (= {field('bmx7-wg', 'Version')})" in field("bmx7-wg-lab", "Depends")


def test_it_is_small() -> None:
    assert int(field("bmx7-wg", "Installed-Size")) <= INSTALLED_SIZE


def test_a_second_build_is_identical(tmp_path: Path) -> None:
    """In another place, time zone, language and umask; and once more on top of the first."""
    source = tmp_path / "elsewhere"
    script = """
        umask 027
        mkdir "$1"
        tar --extract --file="$2" --no-same-permissions --directory="$1"
        cd "$1"
        for round in 1 2; do
            dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary
        done
    """
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/nonexistent",
        "TZ": "Pacific/Apia",
        "LC_ALL": "C",
        "DEB_BUILD_OPTIONS": "nocheck",
    }
    built = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script, "bash", str(source), str(SOURCE)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    assert built.returncode == 0, built.stdout.decode(errors="replace")
    for name in PACKAGES:
        first = package(name)
        assert (tmp_path / first.name).read_bytes() == first.read_bytes(), name
