"""Root file systems of Debian releases, made by mmdebstrap and kept in a cache.

Mirror and keyring are those of this machine's own apt sources, with the release's name exchanged:
whoever can install packages here can run these tests. The cache is .cache/ in the source tree, or
the directory in the environment variable BMX7WG_CACHE; an entry is named after all that went in.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BUILD_TIMEOUT = 900.0  # s; 40 s with a near mirror
COMMAND_TIMEOUT = 300.0  # s

TREE = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("BMX7WG_CACHE") or TREE / ".cache")

# Guests end with the process that tests, whatever ends that. The PID namespace is for containers,
# which outlive their systemd-nspawn.
DIE_WITH_US = ("setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child")

# What apt must know to reach its mirrors; the rest of this machine's settings is its own affair.
APT_OPTION = re.compile(r'^Acquire::(Check-Date|Check-Valid-Until|Retries|https?::[^ ]+) "[^"]+";$')


@dataclass(frozen=True)
class Root:
    """What a root file system holds; two equal ones share a cache entry."""

    suite: str
    packages: tuple[str, ...]

    def path(self) -> Path:
        """The directory of the cached tree, made now if need be. Raises CalledProcessError."""
        sources = apt_sources(self.suite)
        options = apt_options()
        recipe = "\n".join([self.suite, *sorted(self.packages), *sources, *options])
        key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
        directory = CACHE / "roots" / f"{self.suite}-{key}"
        if not directory.is_dir():
            self._build(directory, sources, options)
        return directory

    def _build(self, directory: Path, sources: list[str], options: list[str]) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = directory.with_name(f".{directory.name}.{os.getpid()}")
        print(f"making a root file system of {self.suite}", file=sys.stderr, flush=True)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root"]
        command += ["--dpkgopt=force-unsafe-io", f"--include={','.join(self.packages)}"]
        command += [f"--aptopt={option}" for option in options]
        try:
            subprocess.run(
                [*command, self.suite, str(partial), "-"],
                input="\n".join(sources).encode(),
                check=True,
                timeout=BUILD_TIMEOUT,
            )
            partial.rename(directory)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A directory for this process's copies of roots, beside the cache and gone afterwards.

    Not in /tmp: overlayfs can't have an upper layer on every kind of /tmp, and trees are big.
    """
    directory = CACHE / "run" / f"{name}.{os.getpid()}"
    for other in directory.parent.glob("*.*"):
        if not Path(f"/proc/{other.suffix[1:]}").exists():  # killed before it could clean up
            shutil.rmtree(other, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def copy(source: Path, target: Path) -> None:
    """Copy a tree with owners, modes, links and extended attributes; share blocks if possible."""
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", str(target)], check=True)


def run(root: Path, command: str) -> str:
    """Run a shell command in a root file system that is not booted; its output, both streams.

    Raises AssertionError with the output if its status isn't 0.
    """
    done = subprocess.run(
        [
            *("systemd-nspawn", "--quiet", f"--directory={root}", "--register=no", "--keep-unit"),
            *("--private-network", "--as-pid2", "--pipe", "--link-journal=no"),
            *("--setenv=DEBIAN_FRONTEND=noninteractive", "--resolv-conf=off", "--timezone=off"),
            *("/bin/sh", "-c", command),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_TIMEOUT,
    )
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"`{command}`: status {done.returncode}\n{output}"
    return output


def apt_sources(suite: str) -> list[str]:
    """This machine's Debian sources as one-line entries, for another release.

    Sources of anybody else (suites not named after the running release) are left out.
    """
    here = _running_release()
    entries = []
    for file in _source_files():
        text = file.read_text()
        for entry in _deb822(text) if file.suffix == ".sources" else _one_line(text):
            if all(name.split("-")[0] == here for name in entry.suites):
                entries += [entry.line(name.replace(here, suite, 1)) for name in entry.suites]
    if not entries:
        raise RuntimeError(f"no apt source for {here} on this machine")
    return entries


def apt_options() -> list[str]:
    """This machine's apt settings without which its mirrors may not answer (proxies, dates)."""
    dump = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True
    )
    return [line.rstrip(";") for line in dump.stdout.splitlines() if APT_OPTION.match(line)]


@dataclass(frozen=True)
class _Entry:
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: str  # "[signed-by=…]" or empty

    def line(self, suite: str) -> str:
        parts = ["deb", self.options, self.uris[0], suite, *self.components]
        return " ".join(part for part in parts if part)


def _running_release() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise RuntimeError("/etc/os-release names no release: is this Debian?")


def _source_files() -> list[Path]:
    directory = Path("/etc/apt/sources.list.d")
    found = [*directory.glob("*.list"), *directory.glob("*.sources")]
    return [file for file in (Path("/etc/apt/sources.list"), *sorted(found)) if file.is_file()]


def _one_line(text: str) -> Iterator[_Entry]:
    for line in text.splitlines():
        found = re.match(r"^\s*deb\s+(\[[^\]]*\])?\s*(\S+)\s+(\S+)\s+([^#]+)", line)
        if found:
            options, uri, suite, components = found.groups()
            yield _Entry((uri,), (suite,), tuple(components.split()), options or "")


def _deb822(text: str) -> Iterator[_Entry]:
    without_comments = re.sub(r"(?m)^#.*\n", "", text)
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*)$", stanza))
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes") != "no":
            keyring = fields.get("Signed-By", "")
            yield _Entry(
                tuple(fields["URIs"].split()),
                tuple(fields["Suites"].split()),
                tuple(fields["Components"].split()),
                f"[signed-by={keyring}]" if keyring.startswith("/") else "",
            )
