"""What changes something reaches the service, in its words, and only if it makes sense."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from bmx7wg.bus import contract, errors, options
from bmx7wg.bus.client import CallError, Client
from bmx7wg.bus.connection import Connection
from bmx7wg.bus.names import (
    LOG_CONTROL,
    LOG_PATH,
    MANAGER,
    NAME,
    PEER,
    PROPERTIES,
    ROOT,
    peer_of,
    peer_path,
)
from bmx7wg.bus.values import marshal
from bmx7wg.bus.verbs import MAX_PENDING
from bmx7wg.bus.wire import Flag, Kind
from bmx7wg.core import staticpeers
from bmx7wg.core.limits import MAX_CANDIDATES, MAX_NETWORKS, MAX_SEARCHES

from .daemon import ROOT as TREE
from .daemon import Daemon
from .polkit import connect_as_nobody
from .samples import Counting, ask, busctl, node_id, on_the_bus, peer, until

PATH = peer_path(node_id(3))
SHIPPED = TREE / "dbus" / f"{NAME}.xml"
KEY = peer(9).public_key

#: Path, interface, member, arguments; what is answered; what the service was told to do.
VERBS: list[tuple[str, str, str, tuple[Any, ...], Any, tuple[Any, ...]]] = [
    (
        *(ROOT, MANAGER, "AddPeer", ({"PublicKey": ("s", KEY)},)),
        *(peer_path(node_id(9)), ("add", {"public-key": KEY})),
    ),
    (ROOT, MANAGER, "RemovePeer", (PATH,), None, ("remove", node_id(3))),
    (ROOT, MANAGER, "RotateKey", (), "A" * 43 + "=", ("rotate",)),
    (ROOT, MANAGER, "Synchronize", (), None, ("synchronize",)),
    (ROOT, MANAGER, "Reload", (), None, ("reload",)),
    (PATH, PEER, "Block", (), None, ("block", node_id(3))),
    (PATH, PEER, "Unblock", (), None, ("unblock", node_id(3))),
    (PATH, PEER, "Probe", (), 1234, ("probe", node_id(3))),
    (
        *(ROOT, MANAGER, "OfferNetwork", ("10.9.0.0/16", {"Bandwidth": ("t", 32_000_000)})),
        *(None, ("offer", {"network": "10.9.0.0/16", "bandwidth": 32_000_000})),
    ),
    (ROOT, MANAGER, "WithdrawNetwork", ("::/0",), None, ("withdraw", "::/0")),
    (
        *(ROOT, MANAGER, "SearchNetwork", ("10.0.0.0/8", {"Name": ("s", "lans")})),
        *(None, ("search", {"network": "10.0.0.0/8", "name": "lans"})),
    ),
    (ROOT, MANAGER, "ForgetSearch", ("lans",), None, ("forget", "lans")),
]
NAMES = [verb[2] for verb in VERBS]

#: Options of AddPeer that are refused, and how the sentence begins.
REFUSED = [
    ({}, "PublicKey: is missing"),
    ({"PublicKey": ("s", KEY), "Colour": ("s", "red")}, "Colour: there is no such option"),
    ({"public-key": ("s", KEY)}, "public-key: there is no such option"),
    ({"PublicKey": ("ay", KEY.encode())}, "PublicKey: has another type than 's'"),
    ({"PublicKey": ("s", KEY), "Name": ("t", 7)}, "Name: has another type than 's'"),
    ({"PublicKey": ("s", KEY), "AllowedIPs": ("s", "::/0")}, "AllowedIPs: has another type than"),
    ({"PublicKey": ("s", KEY), "Keepalive": ("b", True)}, "Keepalive: has another type than 'q'"),
    ({"PublicKey": ("s", KEY), "Keepalive": ("d", 25.0)}, "Keepalive: has another type than 'q'"),
    ({"PublicKey": ("s", KEY), "Keepalive": ("q", 4096)}, "Keepalive: 4096 is out of range"),
]


def tell(client: Client, path: str, interface: str, member: str, *arguments: Any) -> None:
    """Call without wanting an answer."""
    signature = contract.load()[interface].methods[member].arguments
    client._connection.tell(NAME, path, interface, member, signature, arguments)


async def call_verb(client: Client, verb: tuple[Any, ...], **how: Any) -> Any:
    path, interface, member, arguments, *_ = verb
    signature = contract.load()[interface].methods[member].arguments
    return await client.call(path, interface, member, signature, arguments, **how)


@pytest.mark.parametrize("verb", VERBS, ids=NAMES)
def test_a_verb_is_carried_out_and_answered(daemon: Daemon, run_async, verb: Any) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(peer(3), controller=controller), await Client.connect() as client:
            assert await call_verb(client, verb) == verb[4]
            assert controller.done == [verb[5]]

    run_async(look())


@pytest.mark.parametrize("verb", VERBS, ids=NAMES)
def test_a_verb_is_carried_out_for_who_wants_no_answer(
    daemon: Daemon, run_async, verb: Any
) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(peer(3), controller=controller), await Client.connect() as client:
            path, interface, member, arguments, *_ = verb
            tell(client, path, interface, member, *arguments)
            await until(lambda: controller.done == [verb[5]])

    run_async(look())


def test_every_option_has_its_key() -> None:
    assert {key for key, _, _ in options.PEER.values()} == set(staticpeers.KEYS)


def test_every_option_is_told_with_its_type() -> None:
    """In the contract, where a comment before the method lists them."""
    text = SHIPPED.read_text()
    for method, known in (
        ("AddPeer", options.PEER),
        ("OfferNetwork", options.OFFER),
        ("SearchNetwork", options.SEARCH),
    ):
        comment = text.partition(f'<method name="{method}">')[0].rpartition("<!--")[2]
        told = re.findall(r'"(\w+)"\s+(\w+)', comment)
        assert dict(told) == {name: signature for name, (_, signature, _) in known.items()}


def test_the_bounds_are_told() -> None:
    words = " ".join(SHIPPED.read_text().split())
    assert f"At most {MAX_NETWORKS} offers." in words
    assert f"At most {MAX_SEARCHES} searches." in words
    assert f"the best {MAX_CANDIDATES} of them" in words


def test_every_method_of_the_contract_is_there(daemon: Daemon, run_async) -> None:
    values = {"s": "", "o": "/", "a{sv}": {}}

    async def look() -> None:
        async with on_the_bus(peer(3)), await Client.connect() as client:
            for path, interface in ((ROOT, MANAGER), (PATH, PEER)):
                for name, method in contract.load()[interface].methods.items():
                    known = [values[type_] for type_ in re.findall(r"a\{sv}|.", method.arguments)]
                    try:
                        await client.call(path, interface, name, method.arguments, known)
                    except CallError as error:
                        assert error.name in (errors.INVALID_ARGUMENT, errors.NO_SUCH_PEER)

    run_async(look())


def test_every_option_of_a_peer(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller):
            added = await ask(
                *("call", ROOT, MANAGER, "AddPeer", "a{sv}", "7", "PublicKey", "s", KEY),
                *("Name", "s", "n9", "NodeId", "s", "0009" * 14, "Keepalive", "q", "25"),
                *("Endpoint", "s", "192.0.2.1:6277", "PresharedKey", "s", KEY),
                *("AllowedIPs", "as", "2", "10.1.0.0/16", "10.2.0.0/16"),
            )
            assert added == [peer_path(node_id(9))]
        said = {
            "public-key": KEY,
            "name": "n9",
            "node-id": "0009" * 14,
            "keepalive": 25,
            "endpoint": "192.0.2.1:6277",
            "preshared-key": KEY,
            "allowed-ips": ["10.1.0.0/16", "10.2.0.0/16"],
        }
        assert controller.done == [("add", said)]

    run_async(look())


def test_options_that_make_no_sense(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller), await Client.connect() as client:
            for said, text in REFUSED:
                with pytest.raises(CallError) as caught:
                    await client.call(ROOT, MANAGER, "AddPeer", "a{sv}", (said,))
                assert caught.value.name == errors.INVALID_ARGUMENT
                assert caught.value.text.startswith(text)
            assert controller.done == []

    run_async(look())


def test_options_of_networks(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller), await Client.connect() as client:
            for member, known in (
                ("OfferNetwork", options.OFFER),
                ("SearchNetwork", options.SEARCH),
            ):
                said = {
                    name: (signature, {str: "x", int: 7, bool: True}[kind])
                    for name, (_, signature, kind) in known.items()
                }
                await client.call(ROOT, MANAGER, member, "sa{sv}", ("::/0", said))
                _, done = controller.done.pop()
                assert done.pop("network") == "::/0"
                assert done == {key: said[name][1] for name, (key, _, _) in known.items()}
            for value, text in (
                (("u", 1), "Bandwidth: 1 is out of range"),
                (("b", True), "Bandwidth: has another type than 't'"),
            ):
                with pytest.raises(CallError, match=text) as caught:
                    offer = ("::/0", {"Bandwidth": value})
                    await client.call(ROOT, MANAGER, "OfferNetwork", "sa{sv}", offer)
                assert caught.value.name == errors.INVALID_ARGUMENT
            assert controller.done == []

    run_async(look())


def test_what_the_service_refuses_is_answered(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(), await Client.connect() as client:
            said = {"PublicKey": ("s", KEY), "Name": ("s", "taken")}
            with pytest.raises(CallError, match="node n1 has this name already") as caught:
                await client.call(ROOT, MANAGER, "AddPeer", "a{sv}", (said,))
            assert caught.value.name == errors.PEER_EXISTS

    run_async(look())


def test_peers_that_are_not_there(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(peer(3), controller=controller), await Client.connect() as client:
            for path in ("/", ROOT, PATH[:-1], PATH.upper(), peer_path(node_id(4)), PATH + "/a"):
                with pytest.raises(CallError) as caught:
                    await client.call(ROOT, MANAGER, "RemovePeer", "o", (path,))
                assert caught.value.name == errors.NO_SUCH_PEER
            with pytest.raises(CallError) as caught:
                await client.call(peer_path(node_id(4)), PEER, "Probe")
            assert caught.value.name == errors.UNKNOWN_OBJECT
            assert controller.done == []

    run_async(look())


@pytest.mark.parametrize("interface", [PEER, ""])
def test_who_is_kept_out_need_not_be_there(daemon: Daemon, run_async, interface: str) -> None:
    absent = peer_path(node_id(4))

    async def look() -> None:
        controller = Counting()
        async with on_the_bus(peer(3), controller=controller), await Client.connect() as client:
            for member in ("Block", "Unblock"):
                await client.call(absent, interface, member)
            done = [("block", node_id(4)), ("unblock", node_id(4))]
            assert controller.done == done
            with pytest.raises(CallError) as caught:
                await client.call(peer_path(node_id(5)), interface, "Unblock")
            assert caught.value.name == errors.NO_SUCH_PEER
            done.append(("unblock", node_id(5)))
            for path in (absent[:-2], absent + "00", absent.upper(), absent + "/a"):
                with pytest.raises(CallError) as caught:
                    await client.call(path, interface, "Unblock")
                assert caught.value.name == errors.UNKNOWN_OBJECT
            with pytest.raises(CallError) as caught:
                await client.call(absent, interface, "Unblock", "s", ("x",))
            assert caught.value.name == errors.INVALID_ARGS
            async with await connect_as_nobody() as nobody:
                with pytest.raises(CallError) as caught:
                    await nobody.call(absent, PEER, "Unblock")
            assert caught.value.name == errors.ACCESS_DENIED
            assert controller.done == done

    run_async(look())


def test_a_path_is_that_of_one_peer() -> None:
    assert peer_of(PATH) == node_id(3)
    for path in (PATH.upper(), PATH.replace("0003", "00 3"), "aabb", ROOT):
        with pytest.raises(ValueError):
            peer_of(path)


def test_a_defect_in_a_verb_is_told_without_its_inside(daemon: Daemon, run_async, caplog) -> None:
    class Broken(Counting):
        async def reload(self) -> None:
            raise ZeroDivisionError

    async def look() -> None:
        async with on_the_bus(controller=Broken()), await Client.connect() as client:
            with pytest.raises(CallError) as caught:
                await client.call(ROOT, MANAGER, "Reload")
            assert caught.value.name == errors.FAILED
            assert "Zero" not in caught.value.text

    run_async(look())
    assert "ZeroDivisionError" in caplog.text


def test_calls_under_way_are_bounded(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        controller.gate.clear()
        async with on_the_bus(controller=controller), await Client.connect() as client:
            calls = [client.call(ROOT, MANAGER, "Reload") for _ in range(MAX_PENDING + 3)]
            answers = asyncio.gather(*calls, return_exceptions=True)
            async with await Client.connect() as other:
                assert await other.call(ROOT, PROPERTIES, "Get", "ss", (MANAGER, "State"))
                reload = asyncio.ensure_future(other.call(ROOT, MANAGER, "Reload"))
                await asyncio.sleep(0)
                controller.gate.set()
                await reload
            refused = [answer for answer in await answers if answer is not None]
            assert {getattr(answer, "name") for answer in refused} == {errors.LIMITS_EXCEEDED}
            assert len(refused) == 3
            assert controller.done == [("reload",)] * (MAX_PENDING + 1)
            await client.call(ROOT, MANAGER, "Reload")

    run_async(look())


def test_what_is_under_way_ends_with_the_service(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        controller.gate.clear()
        async with on_the_bus(controller=controller), await Client.connect() as client:
            calls = [asyncio.ensure_future(client.call(ROOT, MANAGER, "Reload")) for _ in range(3)]
            await client.call(ROOT, PROPERTIES, "GetAll", "s", (MANAGER,))
        assert all(await asyncio.gather(*calls, return_exceptions=True))
        assert controller.done == []

    run_async(look())


# -- org.freedesktop.LogControl1


def test_log_control_is_read_by_everybody(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus():
            text = await busctl("--xml-interface", "introspect", NAME, LOG_PATH)
            assert '<property name="LogLevel" type="s" access="readwrite">' in text
            assert '<property name="SyslogIdentifier" type="s" access="read">' in text
            async with await connect_as_nobody() as client:
                assert await client.call(LOG_PATH, PROPERTIES, "GetAll", "s", (LOG_CONTROL,)) == {
                    "LogLevel": "info",
                    "LogTarget": "journal",
                    "SyslogIdentifier": "bmx7-wgd",
                }
                for name in ("LogLevel", "LogTarget"):
                    with pytest.raises(CallError) as caught:
                        await set_log(client, name, ("s", "debug"))
                    assert caught.value.name == errors.ACCESS_DENIED
            assert await log_level() == "info"

    async def log_level() -> Any:
        return await ask("get-property", LOG_PATH, LOG_CONTROL, "LogLevel")

    run_async(look())


async def set_log(client: Client, name: str, value: tuple[str, Any]) -> None:
    await client.call(LOG_PATH, PROPERTIES, "Set", "ssv", (LOG_CONTROL, name, value))


def test_log_control_is_set_by_root(daemon: Daemon, run_async) -> None:
    class Strict(Counting):
        @property
        def log_level(self) -> str:  # type: ignore[override]
            return self._level

        @log_level.setter
        def log_level(self, word: str) -> None:
            if word not in ("info", "debug"):
                raise CallError(errors.INVALID_ARGS, "a log level is one of info, debug")
            self._level = word

    async def look() -> None:
        controller = Strict()
        controller.log_level = "info"
        async with on_the_bus(controller=controller), await Client.connect() as client:
            await set_log(client, "LogLevel", ("s", "debug"))
            assert controller.log_level == "debug"
            await busctl("set-property", NAME, LOG_PATH, LOG_CONTROL, "LogTarget", "s", "console")
            assert controller.log_target == "console"
            assert await ask("get-property", LOG_PATH, LOG_CONTROL, "LogLevel") == "debug"
            for name, value, error in (
                ("LogLevel", ("s", "loud"), errors.INVALID_ARGS),
                ("LogLevel", ("u", 7), errors.INVALID_ARGS),
                ("SyslogIdentifier", ("s", "x"), errors.PROPERTY_READ_ONLY),
                ("Colour", ("s", "x"), errors.UNKNOWN_PROPERTY),
            ):
                with pytest.raises(CallError) as caught:
                    await set_log(client, name, value)
                assert caught.value.name == error
            assert controller.asked == 0, "no counters are needed for it"
            silent: Connection = client._connection
            body = marshal("ssv", (LOG_CONTROL, "LogLevel", ("s", "info")))
            silent._send(
                Kind.CALL,
                body,
                flags=Flag.NO_REPLY_EXPECTED,
                destination=NAME,
                path=LOG_PATH,
                interface=PROPERTIES,
                member="Set",
                signature="ssv",
            )
            await until(lambda: controller.log_level == "info")

    run_async(look())
