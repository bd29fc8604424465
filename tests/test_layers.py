"""Who may import whom (the layout is drawn in docs/decisions.md). Each rule has its reason."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "bmx7wg"

#: What a layer may import of our own; the modules at the root are the shared adapters.
ALLOWED = {
    "core": {"core"},
    "discovery": {"discovery", "core", "netlink", "rtnetlink", "sockets"},
    "device": {"device", "core", "netlink", "ports", "rtnetlink", "sockets"},
    "bus": {"bus", "core", ""},  # the bus knows the service only as its own Controller protocol
    "service": {"service", "core", "discovery", "device", "bus", "configfiles", ""},
    "cli": {"cli", "core", "bus.client", "configfiles", "ports", ""},
    "lab": {"lab", "core", "netlink", "rtnetlink", ""},
    "configfiles": {"core"},
    "rtnetlink": {"rtnetlink", "netlink"},
    "netlink": set(),
    "ports": set(),
    "sockets": {"core"},
    "__init__": set(),
}

#: Third-party packages and the only places that may know them.
THIRD_PARTY = {
    "dbus_next": ("bus/",),
    "pyroute2": ("rtnetlink/links.py",),
    "cryptography": ("core/keys.py",),
    "systemd": ("service/",),
}

#: A core without IO is a core that tests can hold (anchors: aioquic, h11).
IMPURE = {
    *("asyncio", "socket", "select", "selectors", "ssl", "subprocess", "threading", "signal"),
    *("os", "io", "pathlib", "shutil", "tempfile", "glob", "time", "datetime", "logging"),
    *("multiprocessing", "concurrent", "fcntl", "mmap", "ctypes", "sys"),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imports(path: Path, text: str | None = None) -> Iterator[tuple[str, int]]:
    """Absolute dotted names of everything that a module imports, with the line."""
    package = ("bmx7wg", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text() if text is None else text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *filter(None, (node.module or "").split("."))))
            for alias in node.names:
                full = f"{stem}.{alias.name}"
                yield (full if is_module(full) else stem), node.lineno


def is_module(dotted: str) -> bool:
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def layer_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_follow_the_layers(path: Path) -> None:
    allowed = ALLOWED[layer_of(path)]
    for imported, line in imports(path):
        root, _, rest = imported.partition(".")
        if root == "bmx7wg":
            ours = any(rest == a or (a and rest.startswith(a + ".")) for a in allowed)
            assert ours, f"{name_of(path)}:{line} imports {imported}"
        elif root in THIRD_PARTY:
            here = name_of(path).startswith(THIRD_PARTY[root])
            assert here, f"{name_of(path)}:{line} imports {imported}"
        else:
            known = root in sys.stdlib_module_names
            assert known, f"{name_of(path)}:{line} imports {imported}, not a dependency"


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*.py")), ids=name_of)
def test_the_core_does_no_io(path: Path) -> None:
    for imported, line in imports(path):
        assert imported.split(".")[0] not in IMPURE, f"{name_of(path)}:{line} imports {imported}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input"), f"{name_of(path)}:{node.lineno}"


#: The modules that hold only an interface and its errors.
INTERFACES = {"bmx7wg.device.base", "bmx7wg.discovery.source", "bmx7wg.bus.errors"}


#: Where the parts meet: to run, and to be removed.
WIRING = ("main.py", "removal.py")


def test_only_main_knows_all_parts() -> None:
    adapters = ("bmx7wg.device", "bmx7wg.discovery", "bmx7wg.bus")
    for path in (PACKAGE / "service").glob("*.py"):
        if path.name not in WIRING:
            known = {name for name, _ in imports(path) if name.startswith(adapters)}
            assert known <= INTERFACES, f"{name_of(path)} imports {known - INTERFACES}"


def test_the_rules_see_what_they_forbid() -> None:
    text = "from ..device import base\nimport dbus_next\nfrom .model import Offer\n"
    found = [name for name, _ in imports(PACKAGE / "core" / "not_there.py", text)]
    assert found == ["bmx7wg.device.base", "dbus_next", "bmx7wg.core.model"]
