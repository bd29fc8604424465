"""What the built packages hold and say."""

from __future__ import annotations

import gzip
import re
import subprocess
import tarfile
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest

from ..built import BUILD, SOURCE, package

MODULES = "usr/lib/python3/dist-packages"
INSTALLED_SIZE = 1024  # KiB; without dependencies

PACKAGES = ("bmx7-wg", "bmx7-wg-lab")
TREE = BUILD.parent

SERVICE_FILES = {
    "etc/bmx7-wg/conf.d/README",
    "etc/bmx7-wg/config.toml",
    "usr/bin/bmx7-wg",
    "usr/lib/NetworkManager/conf.d/80-bmx7-wg.conf",
    "usr/libexec/bmx7-wg/forwarding",
    "usr/lib/systemd/network/00-bmx7-wg.network",
    "usr/lib/systemd/system/bmx7-wg-device.service",
    "usr/lib/systemd/system/bmx7-wg-forwarding.service",
    "usr/lib/systemd/system/bmx7-wg-sockets.socket",
    "usr/lib/systemd/system/bmx7-wg-sockets@.service",
    "usr/lib/systemd/system/bmx7-wg-userspace@.service",
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
    "usr/share/man/man8/bmx7-wg-device.service.8.gz",
    "usr/share/man/man8/bmx7-wg-forwarding.service.8.gz",
    "usr/share/man/man8/bmx7-wg-sockets.socket.8.gz",
    "usr/share/man/man8/bmx7-wg-sockets@.service.8.gz",
    "usr/share/man/man8/bmx7-wg-userspace@.service.8.gz",
    "usr/share/man/man8/bmx7-wg.service.8.gz",
    "usr/share/man/man8/bmx7-wgd.8.gz",
    "usr/share/polkit-1/actions/org.bmx7.WireGuard1.policy",
    "usr/share/zsh/vendor-completions/_bmx7-wg",
}
LAB_FILES = {"usr/bin/bmx7-wg-lab", "usr/share/man/man1/bmx7-wg-lab.1.gz"}


def members(name: str) -> dict[str, tarfile.TarInfo]:
    return contents(package(name))


@cache
def contents(file: Path) -> dict[str, tarfile.TarInfo]:
    """The files (no directories) by path; /lib is /usr/lib, as on every installed system."""
    archive = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(file)], capture_output=True, check=True
    ).stdout
    found = {}
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        for member in tar:
            path = member.name.removeprefix("./")
            if not member.isdir():
                found[f"usr/{path}" if path.startswith("lib/") else path] = member
    return found


def python_dependencies(file: Path) -> set[str]:
    return set(re.findall(r"python3-[a-z0-9.+-]+", field_of(file, "Depends")))


def field(name: str, field_name: str) -> str:
    return field_of(package(name), field_name)


def field_of(file: Path, field_name: str) -> str:
    return subprocess.run(
        ["dpkg-deb", "--field", str(file), field_name],
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
        executable = any(f"/{part}/" in path for part in ("bin", "sbin", "libexec"))
        if not member.issym():
            assert member.mode == (0o755 if executable else 0o644), path


def test_each_thing_has_its_page() -> None:
    """Commands and units under their names, others where their page tells of them."""
    pages = {
        Path(path).name.removesuffix(".gz")
        for name in PACKAGES
        for path in members(name)
        if path.startswith("usr/share/man/")
    }
    for name in PACKAGES:
        for path in members(name):
            directory, _, base = path.rpartition("/")
            if directory == "usr/bin":
                assert f"{base}.1" in pages
            elif directory in ("usr/sbin", "usr/lib/systemd/system"):
                assert f"{base}.8" in pages
            elif directory == "usr/share/dbus-1/interfaces":
                page = manual_page(base.replace(".xml", ".5"))
                contract = (TREE / "dbus" / base).read_text()
                for interface in re.findall(r'<interface name="([^"]+)"', contract):
                    section = rf"(?m)^\.S[HS] .*\b{interface.rpartition('.')[2]}\b"
                    assert interface in page or re.search(section, page), interface
    configuration = manual_page("bmx7-wg.toml.5")
    for conffile in conffiles():
        directory, _, base = conffile.rpartition("/")
        assert conffile in configuration or base == "README" and directory in configuration


def test_units_name_pages_that_are_there() -> None:
    for path in sorted((TREE / "systemd").glob("*.s[eo]*")):
        documentation = re.findall(r"man:(\S+)\((\d)\)", path.read_text())
        assert documentation, path
        for page, section in documentation:
            if page.startswith("bmx7") or page.startswith("org.bmx7"):
                assert f"usr/share/man/man{section}/{page}.{section}.gz" in members("bmx7-wg"), path


def manual_page(page: str) -> str:
    """A page of the package as text for a person, without line breaks."""
    section = page[-1]
    packed = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(package("bmx7-wg"))], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as tar:
        file = tar.extractfile(f"./usr/share/man/man{section}/{page}.gz")
        assert file is not None
        source = gzip.decompress(file.read()).decode()
    return source.replace("\\-", "-").replace("\\&", "").replace("\\fP", "").replace("\\fI", "")


def conffiles() -> list[str]:
    return subprocess.run(
        ["dpkg-deb", "--info", str(package("bmx7-wg")), "conffiles"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_conffiles_are_the_configuration() -> None:
    assert sorted(conffiles()) == ["/etc/bmx7-wg/conf.d/README", "/etc/bmx7-wg/config.toml"]


def test_dependencies_are_those_of_the_metadata() -> None:
    depends = field("bmx7-wg", "Depends")
    for name in ("cryptography", "dbus-next", "pyroute2", "systemd"):
        assert f"python3-{name}" in depends
    assert "wireguard" not in depends  # the kernel's will do
    assert "wireguard-go" in field("bmx7-wg", "Recommends")
    assert f"bmx7-wg (= {field('bmx7-wg', 'Version')})" in field("bmx7-wg-lab", "Depends")


def test_it_is_small() -> None:
    assert int(field("bmx7-wg", "Installed-Size")) <= INSTALLED_SIZE


def test_stdeb_makes_the_same_of_setup_cfg() -> None:
    """What "make stdeb" made: all modules and commands of both packages, and their dependencies."""
    (other,) = (BUILD / "stdeb").glob("python3-bmx7-wg_*.deb")

    def code(file: Path) -> set[str]:
        return {
            path
            for path in contents(file)
            if path.startswith(f"{MODULES}/bmx7wg/") or "/bin/" in path or "/sbin/" in path
        }

    ours = set().union(*(code(package(name)) for name in PACKAGES))
    # A service is not a user's command.
    assert code(other) == {path.replace("usr/sbin/", "usr/bin/") for path in ours}
    assert python_dependencies(other) == set().union(
        *(python_dependencies(package(name)) for name in PACKAGES)
    )


def test_a_version_is_the_same_everywhere() -> None:
    version = field("bmx7-wg", "Version").partition("-")[0]
    with tarfile.open(SOURCE) as tar:

        def text(name: str) -> str:
            file = tar.extractfile(name)
            assert file is not None
            return file.read().decode()

        assert f'__version__ = "{version}"' in text("bmx7wg/__init__.py")
        assert re.findall(r"(?m)^## (\S+)", text("CHANGELOG.md"))[0] == version
