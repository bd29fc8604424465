"""The contract as the program reads it: interfaces, methods and properties from the XML.

``org.bmx7.WireGuard1.xml`` is a link to the file in ``dbus/`` and is installed beside this
module: what is served can't differ from what the program was written for.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .names import NAME

_EMITS: Final = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_HEAD: Final = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    arguments: str  # signature of what goes in
    result: str  # signature of what comes out


@dataclass(frozen=True, slots=True)
class Property:
    name: str
    signature: str
    emits: str  # "true" | "invalidates" | "const" | "false"
    writable: bool


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    methods: Mapping[str, Method]
    properties: Mapping[str, Property]
    xml: str  # the element, annotations included, comments not


def load() -> dict[str, Interface]:
    """All interfaces that are served, ours and others', by name."""
    here = Path(__file__).parent
    interfaces: dict[str, Interface] = {}
    for file in (f"{NAME}.xml", "standard.xml"):
        for element in ElementTree.parse(here / file).iter("interface"):
            interfaces[element.attrib["name"]] = _interface(element)
    return interfaces


def node(interfaces: Iterable[Interface], children: Iterable[str]) -> str:
    """The answer to Introspect: interfaces as in the contract, children by their names."""
    parts = [_HEAD, "<node>\n"]
    parts += [f"  {interface.xml}\n" for interface in interfaces]
    parts += [f'  <node name="{name}"/>\n' for name in children]
    return "".join([*parts, "</node>\n"])


def _interface(element: ElementTree.Element) -> Interface:
    return Interface(
        element.attrib["name"],
        {method.attrib["name"]: _method(method) for method in element.iter("method")},
        {item.attrib["name"]: _property(item) for item in element.iter("property")},
        ElementTree.tostring(element, encoding="unicode").strip(),
    )


def _method(element: ElementTree.Element) -> Method:
    signature = {"in": "", "out": ""}
    for argument in element.iter("arg"):
        signature[argument.attrib["direction"]] += argument.attrib["type"]
    return Method(element.attrib["name"], signature["in"], signature["out"])


def _property(element: ElementTree.Element) -> Property:
    notes = {note.attrib["name"]: note.attrib["value"] for note in element.iter("annotation")}
    return Property(
        element.attrib["name"],
        element.attrib["type"],
        notes.get(_EMITS, "true"),
        "write" in element.attrib["access"],
    )
