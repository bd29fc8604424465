"""What is asked wrongly is answered rightly, and the connection stays."""

from __future__ import annotations

import pytest

from bmx7wg.bus import errors
from bmx7wg.bus.client import CallError, Client
from bmx7wg.bus.names import DEVICE_PATH, MANAGER, OBJECT_MANAGER, PEER, PROPERTIES, ROOT, peer_path

from .daemon import Daemon
from .samples import Counting, node_id, on_the_bus, peer

PATH = peer_path(node_id(3))
NOBODY = peer_path(node_id(9))

WRONG = [
    (NOBODY, PEER, "Describe", "", (), errors.UNKNOWN_OBJECT),
    (ROOT + "x", MANAGER, "Describe", "", (), errors.UNKNOWN_OBJECT),
    ("/org/bmx7", MANAGER, "Describe", "", (), errors.UNKNOWN_INTERFACE),
    (DEVICE_PATH, PEER, "Describe", "", (), errors.UNKNOWN_INTERFACE),
    (DEVICE_PATH, OBJECT_MANAGER, "GetManagedObjects", "", (), errors.UNKNOWN_INTERFACE),
    (ROOT, "com.example.Other", "Describe", "", (), errors.UNKNOWN_INTERFACE),
    (ROOT, MANAGER, "Explode", "", (), errors.UNKNOWN_METHOD),
    (ROOT, PROPERTIES, "Put", "", (), errors.UNKNOWN_METHOD),
    (ROOT, MANAGER, "Describe", "s", ("x",), errors.INVALID_ARGS),
    (ROOT, MANAGER, "GetPeerByNodeId", "", (), errors.INVALID_ARGS),
    (ROOT, MANAGER, "GetPeerByNodeId", "t", (7,), errors.INVALID_ARGS),
    (ROOT, MANAGER, "GetPeerByNodeId", "s", ("n3",), errors.INVALID_ARGUMENT),
    (ROOT, MANAGER, "GetPeerByNodeId", "s", ("9" * 56,), errors.NO_SUCH_PEER),
    (ROOT, MANAGER, "GetPeerByPublicKey", "s", ("key",), errors.INVALID_ARGUMENT),
    (ROOT, MANAGER, "GetPeerByPublicKey", "s", ("A" * 43 + "=",), errors.NO_SUCH_PEER),
    (ROOT, PROPERTIES, "Get", "ss", (MANAGER, "Colour"), errors.UNKNOWN_PROPERTY),
    (ROOT, PROPERTIES, "Get", "ss", (PROPERTIES, "Version"), errors.UNKNOWN_PROPERTY),
    (ROOT, PROPERTIES, "Get", "ss", (PEER, "Name"), errors.UNKNOWN_INTERFACE),
    (ROOT, PROPERTIES, "GetAll", "s", (PEER,), errors.UNKNOWN_INTERFACE),
    (ROOT, PROPERTIES, "Get", "s", (MANAGER,), errors.INVALID_ARGS),
    (NOBODY, PROPERTIES, "GetAll", "s", (PEER,), errors.UNKNOWN_OBJECT),
    (ROOT, PROPERTIES, "Set", "ssv", (MANAGER, "Colour", ("s", "x")), errors.UNKNOWN_PROPERTY),
    (ROOT, PROPERTIES, "Set", "ssv", (MANAGER, "State", ("s", "x")), errors.PROPERTY_READ_ONLY),
    (PATH, PROPERTIES, "Set", "ssv", (PEER, "RxBytes", ("t", 0)), errors.PROPERTY_READ_ONLY),
]


def test_wrong_calls(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(3)), await Client.connect() as client:
            for path, interface, member, signature, arguments, expected in WRONG:
                with pytest.raises(CallError) as caught:
                    await client.call(path, interface, member, signature, arguments)
                case = (path, interface, member, signature)
                assert caught.value.name == expected, case
                assert caught.value.text.endswith("."), case
                assert "Traceback" not in caught.value.text, case

    run_async(look())


def test_a_call_may_leave_out_the_interface(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(3)), await Client.connect() as client:
            # The policy denies it to others, for it names no interface; root may.
            assert await client.call(PATH, "", "Describe")
            assert await client.call(ROOT, "", "GetPeerByNodeId", "s", ("0003" * 14,)) == PATH
            with pytest.raises(CallError) as caught:
                await client.call(PATH, "", "Explode")
            assert caught.value.name == errors.UNKNOWN_METHOD

    run_async(look())


def test_a_defect_is_told_without_its_inside(daemon: Daemon, run_async, caplog) -> None:
    async def look() -> None:
        # A view that can't be shown, made here on purpose: a number that no D-Bus type holds.
        async with on_the_bus(peer(3, rx_bytes=-1)), await Client.connect() as client:
            with pytest.raises(CallError) as caught:
                await client.call(PATH, PROPERTIES, "GetAll", "s", (PEER,))
            assert caught.value.name == errors.FAILED
            assert "struct" not in caught.value.text
            assert await client.call(PATH, PROPERTIES, "Get", "ss", (PEER, "Name")) == "n3"

    run_async(look())
    assert "GetAll failed" in caplog.text


def test_a_peer_that_goes_while_its_counters_are_read(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        from bmx7wg.core.views import Changes

        controller = Counting()
        async with on_the_bus(peer(3), controller=controller) as bus:
            controller.then = lambda: bus.publish(Changes(gone=(node_id(3),)))
            async with await Client.connect() as client:
                with pytest.raises(CallError) as caught:
                    await client.call(PATH, PROPERTIES, "GetAll", "s", (PEER,))
        assert caught.value.name == errors.UNKNOWN_OBJECT

    run_async(look())
