"""The files that the bus reads: who may do what, and how the service is started."""

from __future__ import annotations

import asyncio
import configparser
import json
import xml.etree.ElementTree as ElementTree

from bmx7wg.bus import contract
from bmx7wg.bus.names import LOG_CONTROL, MANAGER, NAME, OBJECT_MANAGER, PROPERTIES, ROOT, peer_path

from .daemon import POLICY
from .daemon import ROOT as TREE
from .daemon import Daemon
from .samples import node_id, on_the_bus, peer


def rules(context: dict[str, str]) -> list[dict[str, str]]:
    tree = ElementTree.parse(POLICY).getroot()
    (policy,) = [item for item in tree.iter("policy") if item.attrib == context]
    return [{"rule": rule.tag, **rule.attrib} for rule in policy]


def test_every_rule_names_the_destination() -> None:
    everyone = rules({"context": "default"})
    assert all(rule["send_destination"] == NAME and rule["rule"] == "allow" for rule in everyone)
    assert {rule["send_interface"] for rule in everyone} == set(contract.load()) - {LOG_CONTROL}
    assert rules({"user": "root"}) == [
        {"rule": "allow", "own": NAME},
        {"rule": "allow", "send_destination": NAME},
    ]


def test_activation_goes_through_systemd() -> None:
    file = configparser.ConfigParser()
    file.optionxform = str  # type: ignore[assignment,method-assign]
    file.read(TREE / "dbus" / f"{NAME}.service")
    assert dict(file["D-BUS Service"]) == {
        "Name": NAME,
        "Exec": "/bin/false",
        "User": "root",
        "SystemdService": f"dbus-{NAME}.service",
    }


async def as_nobody(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *("/usr/bin/busctl", "--system", "--json=short", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def test_everybody_may_read_and_only_that(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(3)):
            status, text = await as_nobody("call", NAME, ROOT, OBJECT_MANAGER, "GetManagedObjects")
            assert status == 0 and peer_path(node_id(3)) in json.loads(text)["data"][0]
            status, text = await as_nobody("introspect", NAME, peer_path(node_id(3)))
            assert status == 0, text
            status, text = await as_nobody("get-property", NAME, ROOT, MANAGER, "State")
            assert status == 0, text
            status, text = await as_nobody("call", NAME, ROOT, LOG_CONTROL, "Anything")
            assert status != 0 and "not allowed" in text.lower() or "denied" in text.lower()
            status, text = await as_nobody(
                "call", NAME, ROOT, PROPERTIES, "Set", "ssv", MANAGER, "State", "s", "x"
            )
            assert status != 0 and "can't be set" in text

    run_async(look())


def test_nobody_but_root_owns_the_name(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        status, text = await as_nobody("call", *bus, "RequestName", "su", NAME, "4")
        assert status != 0 and "Access denied" in text

    run_async(look())


def test_the_bus_finds_nothing_wrong_with_the_policy(daemon: Daemon) -> None:
    assert daemon.said() == []
