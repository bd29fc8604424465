"""The running service is held against the XML that is shipped, as others see it: by busctl."""

from __future__ import annotations

import ctypes
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bmx7wg.bus import contract
from bmx7wg.bus.names import (
    DEVICE,
    DEVICE_PATH,
    LOG_PATH,
    MANAGER,
    NAME,
    NETWORK,
    NETWORK_PREFIX,
    PEER,
    ROOT,
    network_path,
    peer_path,
)
from bmx7wg.bus.views import PROPERTIES_OF

from .daemon import ROOT as TREE
from .daemon import Daemon
from .samples import ask, busctl, manager, network, node_id, on_the_bus, peer

SHIPPED = TREE / "dbus" / f"{NAME}.xml"
PEER_PATH = peer_path(node_id(3))
NETWORK_PATH = NETWORK_PREFIX + "_310_2e3_2e0_2e0_2f24"

#: Every property of every object of the sample service, as busctl's JSON tells it.
EXPECTED = {
    (ROOT, MANAGER): {
        "Version": "1.2",
        "NodeId": "00" * 28,
        "NodeName": "n0",
        "State": "degraded",
        "Problems": ["bmx7 is not running."],
        "Source": "bmx7",
        "SourceState": "waiting",
        "Offers": [["10.9.0.0/16", 32000000, ["10.9.1.0/24", "10.9.2.0/24"]]],
        "Searches": [["lans", "10.0.0.0/8", 8, 24]],
    },
    (DEVICE_PATH, DEVICE): {
        "Name": "wgBmx7",
        "InterfaceIndex": 7,
        "Backend": "userspace",
        "PublicKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "ListenPort": 6277,
        "FirewallMark": 0x6277,
        "Mtu": 1420,
        "Addresses": ["fd77::1/16"],
    },
    (PEER_PATH, PEER): {
        "NodeId": "0003" * 14,
        "Name": "n3",
        "Origin": "link",
        "State": "connected",
        "Reason": "",
        "PublicKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM=",
        "Endpoint": "[fe80::3%eth0]:6277",
        "Address": "fd77:3:3:3:3:3:3:3",
        "AllowedIPs": ["fd77:3:3:3:3:3:3:3/128", "10.3.0.0/24"],
        "Offers": [["10.3.0.0/24", 32000000]],
        "Metric": 128849018880,
        "Hops": 2,
        "LastHandshake": 1700000000000000,
        "RxBytes": 5000000003,
        "TxBytes": 7,
    },
    (NETWORK_PATH, NETWORK): {
        "Prefix": "10.3.0.0/24",
        "Gateway": PEER_PATH,
        "Reason": "the best of 2",
        "Candidates": [[PEER_PATH, 38400000, ""], [peer_path(node_id(4)), 32000000, "worse"]],
        "Table": 77,
        "Metric": 1024,
        "Since": 1700000000000000,
    },
}
LAN = network("10.3.0.0/24")


def interfaces(text: str) -> dict[str, str]:
    """The interfaces of an introspection, each in canonical form, without comments."""
    return {
        element.attrib["name"]: ElementTree.canonicalize(
            ElementTree.tostring(element, encoding="unicode"), strip_text=True
        )
        for element in ElementTree.fromstring(text).iter("interface")
    }


def test_what_the_program_reads_is_the_contract() -> None:
    beside = Path(contract.__file__).with_name(SHIPPED.name)
    assert beside.read_bytes() == SHIPPED.read_bytes()


def test_introspection_is_the_shipped_contract(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        shipped = interfaces(SHIPPED.read_text())
        served: dict[str, str] = {}
        async with on_the_bus(peer(3), networks=(LAN,)):
            for path, interface in EXPECTED:
                text = await busctl("--xml-interface", "introspect", NAME, path)
                own = {name: xml for name, xml in interfaces(text).items() if name.startswith(NAME)}
                assert list(own) == [interface]
                served |= own
        assert all("EmitsChangedSignal" in xml for xml in served.values())
        assert served == {name: shipped[name] for name in served}
        assert set(shipped) == set(served)

    run_async(look())


def test_standard_interfaces_are_where_they_belong(daemon: Daemon, run_async) -> None:
    standard = {"org.freedesktop.DBus." + name for name in ("Introspectable", "Peer", "Properties")}
    manager_too = {"org.freedesktop.DBus.ObjectManager"}

    async def look() -> None:
        async with on_the_bus(peer(3), networks=(LAN,)):
            for path, interface in EXPECTED:
                found = set(interfaces(await busctl("--xml-interface", "introspect", NAME, path)))
                assert found == standard | {interface} | (manager_too if path == ROOT else set())

    run_async(look())


def test_the_tree_is_walked_from_its_root(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(3), peer(4), networks=(LAN,)):
            found = await busctl("--list", "tree", NAME)
        below = {"/", "/org", "/org/bmx7", ROOT, ROOT + "/peer", ROOT + "/network"}
        log = {"/org/freedesktop", LOG_PATH}
        peers = {PEER_PATH, peer_path(node_id(4))}
        assert set(found.split()) == below | log | {DEVICE_PATH, NETWORK_PATH} | peers

    run_async(look())


@pytest.mark.parametrize(("path", "interface"), list(EXPECTED))
def test_every_property(daemon: Daemon, run_async, path: str, interface: str) -> None:
    expected = EXPECTED[path, interface]
    assert list(expected) == list(contract.load()[interface].properties)

    async def look() -> None:
        async with on_the_bus(peer(3), networks=(LAN,)):
            names = list(expected)
            text = await busctl("--json=short", "get-property", NAME, path, interface, *names)
            values = [json.loads(line) for line in text.splitlines()]
            assert dict(zip(names, (value["data"] for value in values))) == expected
            types = [item.signature for item in contract.load()[interface].properties.values()]
            assert [value["type"] for value in values] == types
            (everything,) = await ask(
                "call", path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface
            )
            assert {name: value["data"] for name, value in everything.items()} == expected

    run_async(look())


def test_managed_objects_are_all_below_the_manager(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(3), networks=(LAN,)):
            (objects,) = await ask(
                "call", ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"
            )
        plain = {
            (path, interface): {name: value["data"] for name, value in properties.items()}
            for path, interfaces in objects.items()
            for interface, properties in interfaces.items()
        }
        assert plain == {key: EXPECTED[key] for key in EXPECTED if key[0] != ROOT}

    run_async(look())


def test_every_property_has_its_view() -> None:
    for name, readers in PROPERTIES_OF.items():
        assert list(readers) == list(contract.load()[name].properties), name


@pytest.mark.parametrize(
    "prefix", ["10.3.0.0/24", "0.0.0.0/0", "::/0", "2001:db8::/32", "fd00::/8"]
)
def test_paths_of_networks_are_escaped_as_systemd_does(prefix: str) -> None:
    systemd = ctypes.CDLL("libsystemd.so.0")
    path = ctypes.c_char_p()
    parent = NETWORK_PREFIX.rstrip("/").encode()
    assert systemd.sd_bus_path_encode(parent, prefix.encode(), ctypes.byref(path)) >= 0
    assert path.value == network_path(prefix).encode()


def test_a_network_without_a_gateway(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(networks=(network("::/0", gateway=None, candidates=(), since=0),)):
            path = network_path("::/0")
            assert await ask("get-property", path, NETWORK, "Gateway") == "/"
            assert await ask("get-property", path, NETWORK, "Candidates") == []

    run_async(look())


def test_describe(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(3), networks=(LAN,)) as bus:
            (text,) = await ask("call", PEER_PATH, PEER, "Describe")
            assert json.loads(text) == EXPECTED[PEER_PATH, PEER]
            (text,) = await ask("call", ROOT, MANAGER, "Describe")
            assert json.loads(text) == {
                "manager": EXPECTED[ROOT, MANAGER] | {"refused": {"received": 12, "json": 3}},
                "device": EXPECTED[DEVICE_PATH, DEVICE],
                "peers": [EXPECTED[PEER_PATH, PEER]],
                "networks": [EXPECTED[NETWORK_PATH, NETWORK]],
            }
            assert bus is not None
        assert manager().version == "1.2"

    run_async(look())


def test_peers_are_found(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        contested = peer(4, public_key=peer(3).public_key, state="conflict")
        async with on_the_bus(contested, peer(3)):
            for text in (str(node_id(3)), str(node_id(3)).lower()):
                found = await ask("call", ROOT, MANAGER, "GetPeerByNodeId", "s", text)
                assert found == [PEER_PATH]
            key = peer(3).public_key
            found = await ask("call", ROOT, MANAGER, "GetPeerByPublicKey", "s", key)
            assert found == [PEER_PATH], "the peer in conflict is not the owner of the key"

    run_async(look())


def test_peer_interface_of_the_specification(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        standard = "org.freedesktop.DBus.Peer"
        async with on_the_bus():
            for path in (ROOT, "/", "/nowhere"):
                assert await ask("call", path, standard, "Ping") is None
            (machine,) = await ask("call", ROOT, standard, "GetMachineId")
        assert machine == Path("/etc/machine-id").read_text().strip()

    run_async(look())
