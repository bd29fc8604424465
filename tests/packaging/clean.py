"""Builds of the source package in minimal root file systems of each release.

What is in them is essential, build-essential, or named by Build-Depends. They have no network, and
the builds run as a user without rights.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..built import BUILD, DIRECTORY
from ..system import roots

CONTROL = roots.TREE / "debian/control"
BUILT = BUILD / "clean"  # what was built, in a directory for each release
SOURCES = ("*.dsc", "*.orig.tar.*", "*.debian.tar.*")
I18N = Path("/usr/share/i18n")  # of the package locales: what other languages are made of

# As of any machine that builds packages.
FIRST = """
    export HOME=/nonexistent TZ=UTC LC_ALL=C.UTF-8
    umask 022
    cd /build/first
    dpkg-source --extract *.dsc bmx7-wg
    cd bmx7-wg
    dpkg-buildpackage --unsigned-source --unsigned-changes
"""

# Unlike it in all that must not matter; and a second time in the same tree.
SECOND = """
    mkdir --parents /build/second/deeper/down /build/home /build/bin
    export HOME=/build/home TZ=Pacific/Apia LC_ALL=tr_TR.UTF-8 LANGUAGE=tr USER=somebody
    export PATH=/build/bin:$PATH DEB_BUILD_OPTIONS="nocheck parallel=3"
    test "$(locale decimal_point)" = ,
    umask 007
    cd /build/second/deeper/down
    cp /build/first/*.dsc /build/first/*.tar.* .
    dpkg-source --extract *.dsc tree
    cd tree
    for round in 1 2; do
        dpkg-buildpackage --unsigned-source --unsigned-changes
    done
"""


@dataclass(frozen=True)
class Build:
    log: str
    first: Path  # directories of the packages
    second: Path


def build_depends() -> list[str]:
    """The names of the packages that debian/control wants for a build with tests."""
    (field,) = re.findall(r"(?ms)^Build-Depends:(.*?)^\S", CONTROL.read_text())
    names = [item.split()[0] for item in field.split(",") if item.strip()]
    # debhelper-compat (= N) is a name that apt can't be given; debhelper provides it.
    return ["debhelper" if name == "debhelper-compat" else name for name in names]


def build_root(suite: str) -> roots.Root:
    return roots.Root(suite, ("build-essential", *build_depends()))


def build(suite: str, root: Path) -> Build:
    """Build in a copy of the release's root, made here. Raises AssertionError with the log."""
    roots.copy(build_root(suite).path(), root)
    first = root / "build/first"
    first.mkdir(parents=True)
    for pattern in SOURCES:
        for file in DIRECTORY.glob(pattern):
            shutil.copy(file, first)
    _execute(root, "chown -R 1000:1000 /build", 0)
    log = _execute(root, FIRST, 1000)
    shutil.rmtree(BUILT / suite, ignore_errors=True)
    shutil.copytree(first, BUILT / suite, ignore=shutil.ignore_patterns("bmx7-wg"))

    shutil.copytree(I18N, root / I18N.relative_to("/"), dirs_exist_ok=True)
    _execute(root, "localedef -i tr_TR -f UTF-8 tr_TR.UTF-8", 0)
    _execute(root, "chown -R 2000:2000 /build", 0)
    _execute(root, SECOND, 2000)
    return Build(log, first, root / "build/second/deeper/down")


def _execute(root: Path, script: str, user: int) -> str:
    path = root / "script"
    path.write_text(f"set -eu\n{script}")
    return roots.run(
        root, f"exec setpriv --reuid={user} --regid={user} --clear-groups /bin/sh /script 2>&1"
    )
