"""wireguard-go's text protocol, without wireguard-go."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from threading import Thread

import pytest

from bmx7wg.core.model import Endpoint
from bmx7wg.core.operations import SetDevice
from bmx7wg.core.planpeers import RemovePeer, SetPeer
from bmx7wg.device import uapi

ONE, TWO, SHARED = b"1" * 32, b"2" * 32, b"S" * 32
HEX_ONE, HEX_TWO, HEX_SHARED = "31" * 32, "32" * 32, "53" * 32


def transactions(*operations):
    return [lines.splitlines() for lines, _ in uapi.encode_peers(operations)]


def test_device():
    lines = uapi.encode_device(SetDevice(private_key=ONE, listen_port=6277, firewall_mark=0x6277))
    assert lines == f"private_key={HEX_ONE}\nlisten_port=6277\nfwmark=25207\n"


def test_keepalives_come_last():
    one = SetPeer(
        public_key=ONE,
        new=True,
        preshared_key=SHARED,
        endpoint=Endpoint(IPv6Address("fe80::2"), 6277, 3, "eth0"),
        keepalive=25,
        allowed_ips=(IPv4Network("10.3.0.0/24"), IPv6Network("fd77::2")),
    )
    assert transactions(one, RemovePeer(TWO)) == [
        [
            f"public_key={HEX_ONE}",
            f"preshared_key={HEX_SHARED}",
            "endpoint=[fe80::2%3]:6277",
            "allowed_ip=10.3.0.0/24",
            "allowed_ip=fd77::2/128",
            f"public_key={HEX_TWO}",
            "remove=true",
        ],
        [f"public_key={HEX_ONE}", "update_only=true", "persistent_keepalive_interval=25"],
    ]


def test_changes():
    moved = SetPeer(public_key=ONE, endpoint=Endpoint(IPv4Address("192.0.2.2"), 6277))
    only = SetPeer(public_key=TWO, allowed_ips=(IPv6Network("fd77::2"),), only_these=True)
    new = SetPeer(public_key=SHARED, new=True, replaces=ONE)
    assert transactions(moved, only, new) == [
        [
            *(f"public_key={HEX_ONE}", "update_only=true", "endpoint=192.0.2.2:6277"),
            *(f"public_key={HEX_TWO}", "update_only=true", "replace_allowed_ips=true"),
            "allowed_ip=fd77::2/128",
            *(f"public_key={HEX_SHARED}", f"public_key={HEX_ONE}", "remove=true"),
        ]
    ]


def test_at_most_a_hundred_peers_at_once():
    peers = [SetPeer(public_key=bytes([n]) * 32, new=True, keepalive=1) for n in range(250)]
    chunks = list(uapi.encode_peers(peers))
    assert [len(inside) for _, inside in chunks] == [100, 100, 50, 100, 100, 50]
    assert [o for _, inside in chunks[:3] for o in inside] == peers


DUMP = f"""private_key={HEX_ONE}
listen_port=6277
fwmark=25207
public_key={HEX_TWO}
preshared_key={HEX_SHARED}
protocol_version=1
endpoint=%s
last_handshake_time_sec=1700000000
last_handshake_time_nsec=5
tx_bytes=77
rx_bytes=78
persistent_keepalive_interval=25
allowed_ip=10.3.0.0/24
allowed_ip=fd77::2/128
public_key={HEX_SHARED}
last_handshake_time_sec=0
last_handshake_time_nsec=0
"""


def parts(text):
    """As `Connection.get` gives them."""
    return iter(text.removesuffix("\n").encode().split(b"\npublic_key="))


@contextmanager
def wireguard_go(directory, monkeypatch, answer, cuts):
    """A connection to somebody who gives this answer, in pieces."""
    monkeypatch.setattr(uapi, "DIRECTORY", str(directory))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(uapi.socket_path("wg"))
        listener.listen()
        connection = uapi.Connection("wg")
        accepted, _ = listener.accept()

        def serve():
            with accepted:
                assert accepted.recv(100) == b"get=1\n\n"
                for begin, end in zip((0, *cuts), (*cuts, len(answer))):
                    accepted.sendall(answer[begin:end])

        thread = Thread(target=serve)
        thread.start()
        yield connection
        thread.join()
        connection.close()


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_an_answer_comes_in_pieces(tmp_path, monkeypatch, size):
    text = DUMP % "192.0.2.2:6277"
    answer = f"{text}errno=0\n\n".encode()
    cuts = range(size, len(answer), size)
    monkeypatch.setattr(uapi, "_RECEIVE", size)
    with wireguard_go(tmp_path, monkeypatch, answer, cuts) as connection:
        assert list(connection.get()) == list(parts(text))


@pytest.mark.parametrize(
    "answer, error",
    [(b"errno=-1\n\n", uapi.RefusedError), (b"listen_port=1\n", ConnectionResetError)],
)
def test_an_answer_that_is_none(tmp_path, monkeypatch, answer, error):
    with wireguard_go(tmp_path, monkeypatch, answer, ()) as connection:
        with pytest.raises(error):
            list(connection.get())


def test_only_what_changed_is_decoded_again():
    reader = uapi.Reader()
    before = reader.device(parts(DUMP % "192.0.2.2:6277")).peers
    after = reader.device(parts(DUMP % "192.0.2.3:6277")).peers
    assert after[SHARED] is before[SHARED]
    assert after[TWO].endpoint == Endpoint(IPv4Address("192.0.2.3"), 6277)
    assert after[TWO].allowed_ips[1] is before[TWO].allowed_ips[1]


def test_a_dump():
    device = uapi.Reader().device(parts(DUMP % "192.0.2.2:6277"))
    assert (device.private_key, device.listen_port, device.firewall_mark) == (ONE, 6277, 25207)
    peer, bare = device.peers.values()
    assert (peer.public_key, peer.preshared_key, peer.keepalive) == (TWO, SHARED, 25)
    assert peer.allowed_ips == (IPv4Network("10.3.0.0/24"), IPv6Network("fd77::2"))
    assert peer.last_handshake == 1700000000 * 10**9 + 5
    assert (peer.rx_bytes, peer.tx_bytes) == (78, 77)
    assert (bare.endpoint, bare.preshared_key, bare.allowed_ips) == (None, bytes(32), ())
    assert peer.endpoint == Endpoint(IPv4Address("192.0.2.2"), 6277)
    assert bare.last_handshake == 0


def test_an_empty_device():
    device = uapi.Reader().device(parts(""))
    assert (device.private_key, device.listen_port, device.peers) == (bytes(32), 0, {})


@pytest.mark.parametrize(
    "text, expected",
    [
        ("192.0.2.2:6277", Endpoint(IPv4Address("192.0.2.2"), 6277)),
        ("[2001:db8::2]:1", Endpoint(IPv6Address("2001:db8::2"), 1)),
        ("[fe80::2]:1", Endpoint(IPv6Address("fe80::2"), 1, 0)),
        ("[fe80::2%3]:1", Endpoint(IPv6Address("fe80::2"), 1, 3)),
        ("[fe80::2%lo]:1", Endpoint(IPv6Address("fe80::2"), 1, 0)),
        ("[::ffff:192.0.2.2]:1", Endpoint(IPv4Address("192.0.2.2"), 1)),
    ],
)
def test_endpoints(text, expected):
    (peer, _) = uapi.Reader().device(parts(DUMP % text)).peers.values()
    assert peer.endpoint == expected
