"""Peers and status as tables; NODE and what it means."""

from __future__ import annotations

import time

import pytest

from bmx7wg.cli.output import NoSuchPeer, Output
from bmx7wg.cli.peers import show_peers
from bmx7wg.cli.resolve import resolve
from bmx7wg.cli.status import show_status
from bmx7wg.cli.terminal import Terminal, width
from bmx7wg.cli.view import STATES, Peer, Snapshot, in_order
from bmx7wg.core.model import PeerState

from .made_up import device, key, manager, node_id, peer, peers, silent, snapshot

SHOW = {"status": show_status, "peers": show_peers}


def lines(capsys: pytest.CaptureFixture[str], verb: str, shot: Snapshot, **of: object) -> list[str]:
    SHOW[verb](shot, Output(Terminal(**of), json=False))  # type: ignore[arg-type, operator]
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("verb", SHOW)
@pytest.mark.parametrize("count", [0, 1, 5, 300])
@pytest.mark.parametrize("at", [80, 200])
def test_lines_fit(capsys: pytest.CaptureFixture[str], verb: str, count: int, at: int) -> None:
    long = peer("x" * 63, reason="because " * 30)
    wide = peer("漢字" * 15, endpoint="[2001:db8:1234:5678:9abc:def0:1234:5678]:65535")
    shot = snapshot([*peers(count), *([long, wide] if count else [])])
    for line in lines(capsys, verb, shot, width=at):
        assert width(line) <= at


def test_peers_on_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    views = [
        peer("n2", endpoint="[fe80::1%eth0]:6277"),
        peer("n10", hops=2, endpoint="192.0.2.1:6277", tx_bytes=1_500_000_000),
        silent("n3", PeerState.BLOCKED, "blocked in the configuration"),
    ]
    assert lines(capsys, "peers", snapshot(views), width=80) == [
        "NAME  STATE      HANDSHAKE  RECEIVED      SENT  HOPS  ENDPOINT OR REASON",
        "n2    connected      1 min   121 KiB  7.30 MiB        [fe80::1%eth0]:6277",
        "n10   connected      1 min   121 KiB  1.40 GiB     2  192.0.2.1:6277",
        "n3    blocked        never                            blocked in the configurat…",
        "3 peers: 2 connected, 1 blocked",
    ]


def test_peers_on_200_columns_have_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    heading, first, *_ = lines(capsys, "peers", snapshot(peers(5)), width=200)
    assert heading.split() == [
        *("NAME", "STATE", "HANDSHAKE", "RECEIVED", "SENT"),
        *("ENDPOINT", "OR", "REASON", "ADDRESS", "PUBLIC", "KEY"),
    ]
    assert peer("n2").address in first and peer("n2").public_key in first


def test_status_of_many_lists_what_needs_attention(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(capsys, "status", snapshot(peers(300)), width=80)
    assert "300 peers: 240 connected, 15 idle, 15 configured, 15 lost, 15 conflict" in shown
    assert len(shown) < 25 and shown[-1] == "  290 more: bmx7-wg peers"
    assert not any(" connected " in line for line in shown[12:])


def test_colours_only_where_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    shot = snapshot(peers(5), of=manager(problems=("something",)))
    for verb in SHOW:
        assert not any("\x1b" in line for line in lines(capsys, verb, shot))
        assert any("\x1b[32m" in line for line in lines(capsys, verb, shot, colour=True))


def test_every_state_has_its_place_in_the_order() -> None:
    assert set(STATES) == set(PeerState)


def test_order_is_state_then_natural_name() -> None:
    views = [peer("n10"), peer("n9"), silent("n1", PeerState.LOST), peer("n2")]
    views.append(peer("n0", state="strange"))
    ordered = in_order(snapshot(views).peers.values())
    assert [one.name for one in ordered] == ["n2", "n9", "n10", "n1", "n0"]


def test_a_service_of_another_version_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    odd = {"NodeId": 5, "State": "floating", "AllowedIPs": "x", "Offers": [["a", "b"]], "New": 1}
    strange = Peer.of(odd)
    assert (strange.node_id, strange.state, strange.allowed_ips, strange.offers) == (
        *("", "floating"),
        *((), ()),
    )
    empty = Snapshot.of({})
    assert lines(capsys, "status", empty)[0] == "node ?: "
    assert lines(capsys, "peers", Snapshot(empty.manager, None, {"/x": strange}))[-1] == (
        "1 peer: 1 floating"
    )


def test_status_of_nothing_but_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(capsys, "status", snapshot([], on=device(firewall_mark=0)))
    assert "  port         6277" in shown and shown[-1] == "peers: none yet"


# -- NODE -----------------------------------------------------------------------------------

MESH = [peer("n2"), peer("n3"), peer("N10"), peer("", public_key=key("nameless"))]


@pytest.mark.parametrize(
    "text",
    [
        "n3",
        "N3",
        str(node_id("n3")),
        str(node_id("n3")).lower(),
        str(node_id("n3"))[:4],
        peer("n3").address,
        peer("n3").address.upper(),
        peer("n3").address + "/128",
        key("n3"),
    ],
)
def test_what_means_a_peer(text: str) -> None:
    assert resolve(text, snapshot(MESH)).name == "n3"


@pytest.mark.parametrize(
    "text, hint",
    [
        ("n33", "did you mean n3"),
        ("quite-other", "bmx7-wg peers"),
        ("", "bmx7-wg peers"),
        ("71c", "at least 4 digits"),
        ("n1", "this node itself"),
        (str(node_id("n1")), "this node itself"),
        ("fd77::1", "bmx7-wg peers"),
        ("::", "bmx7-wg peers"),
        (key("nobody"), "bmx7-wg peers"),
    ],
)
def test_what_means_none(text: str, hint: str) -> None:
    with pytest.raises(NoSuchPeer) as error:
        resolve(text, snapshot(MESH))
    assert hint in error.value.hints[0]


def test_a_name_does_not_take_the_place_of_an_id() -> None:
    real = peer("n2")
    prefix = str(real.node_id)[:8].lower()
    impostor = peer("evil", name=prefix)
    with pytest.raises(NoSuchPeer, match="2 peers") as error:
        resolve(prefix, snapshot([real, impostor]))
    assert {hint.split()[0] for hint in error.value.hints} == {
        str(real.node_id),
        str(impostor.node_id),
    }
    whole = peer("evil", name=str(real.node_id).lower())
    assert resolve(str(real.node_id), snapshot([real, whole])).name == "n2"


def test_same_names_and_keys_are_ambiguous() -> None:
    twins = [peer(f"t{number}", name="twin", public_key=key("twin")) for number in range(12)]
    for text in ("twin", key("twin")):
        with pytest.raises(NoSuchPeer, match="12 peers") as error:
            resolve(text, snapshot(twins))
        assert len(error.value.hints) == 11 and error.value.hints[-1] == "and 2 more"


def test_three_hundred_are_resolved_and_drawn_fast(capsys: pytest.CaptureFixture[str]) -> None:
    shot = snapshot(peers(300))
    begin = time.perf_counter()
    resolve("n299", shot)
    lines(capsys, "peers", shot, width=80)
    assert time.perf_counter() - begin < 1.0
