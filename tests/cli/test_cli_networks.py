"""Networks: tables, offers and searches, switches as they happen, over a real bus."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from bmx7wg.bus import errors
from bmx7wg.bus.errors import CallError
from bmx7wg.cli.networks import unanswered
from bmx7wg.cli.terminal import width
from bmx7wg.cli.units import parse_rate, rate
from bmx7wg.core.model import PeerState

from .conftest import Service, run
from .made_up import device, manager, network, node_id, peer, properties, snapshot
from .test_cli_bus import line_of, monitoring

LAN, WIDE = "10.3.0.0/24", "2001:db8:1234:5678:9abc::/80"
NODES = ("n3", "n5")


@pytest.fixture
def mesh(service: Service) -> Service:
    """n3 and n5 offer a LAN; nobody is good enough for the other; two searches, two offers."""
    nobody = network(WIDE, gateway=None, reason="no gateway has a session", since=0)
    service.publish(
        manager=manager(
            offers=(
                ("10.9.0.0/16", 32_000_000, ("10.9.0.0/16",)),
                ("0.0.0.0/0", 1000, ()),
                ("172.16.0.0/12", 1000, tuple(f"172.16.{n}.0/24" for n in range(5))),
            ),
            searches=(
                ("lans", "10.0.0.0/8", 8, 128),
                ("fd00::/8", "fd00::/8", 8, 128),
                ("far", "2001:db8::/32", 32, 128),
            ),
        ),
        device=device(),
        peers=tuple(peer(name, offers=((LAN, 32_000_000),)) for name in NODES),
        networks=(
            network(LAN, *NODES),
            replace(nobody, candidates=((node_id("n3"), 5, "silent"),)),
        ),
    )
    return service


def test_the_table(mesh: Service, bus: dict[str, str]) -> None:
    done = run("networks", **bus)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "NETWORK                       GATEWAY  SINCE      WORTH  PEERS  WHY",
        "10.3.0.0/24                   n3       1 min  32 Mbit/s      2  the best of 2",
        f"{WIDE}  nobody                         1  no gateway has a session",
        "2 networks: 1 carried, 1 by nobody; 1 search without an offer",
        "  nobody offers fd00::/8",
        "",
        "OFFERED HERE   BANDWIDTH  ANNOUNCED",
        "10.9.0.0/16    32 Mbit/s  yes",
        "0.0.0.0/0       1 kbit/s  no",
        "172.16.0.0/12   1 kbit/s  172.16.0.0/24, 172.16.1.0/24, 172.16.2.0/24 and 2 more",
    ]


def test_the_table_fits_its_terminal(mesh: Service, bus: dict[str, str]) -> None:
    for verb in (["networks"], ["status"], ["networks", LAN]):
        for columns in (80, 64, 48):
            lines = run(*verb, COLUMNS=str(columns), **bus).out.splitlines()
            table = [line for line in lines if "n3" in line.split() or "OFFERED" in line]
            assert table and max(map(width, table)) <= columns


def test_one_network(mesh: Service, bus: dict[str, str]) -> None:
    out = run("networks", LAN, **bus).out
    assert out.startswith(f"network {LAN}: carried by n3\n")
    assert "1 minute ago" in out and "table 77, metric 1024" in out
    candidates = [line.split() for line in out.splitlines()[-2:]]
    assert candidates[0] == ["n3", "connected", "32", "Mbit/s"]
    assert candidates[1] == ["n5", "connected", "16", "Mbit/s", "worse"]
    assert run("networks", "10.3.0.9", **bus).out == out, "an address means what it is sent through"
    out = run("networks", WIDE, **bus).out
    assert f"network {WIDE}: carried by nobody" in out and "no gateway has a session" in out


def test_a_network_that_is_none(mesh: Service, bus: dict[str, str]) -> None:
    for text in ("10.4.0.0/24", "10.4.0.1", "n3", "\x1b[2J"):
        done = run("networks", text, **bus)
        assert (done.status, done.out) == (1, "") and "bmx7-wg networks" in done.err
        assert done.err.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "search, prefixes, answered",
    [
        (("10.0.0.0/8", 8, 128), ["10.3.0.0/24"], True),
        (("10.0.0.0/8", 8, 128), ["11.0.0.0/24", "::/0", "0.0.0.0/0"], False),
        (("0.0.0.0/0", 0, 0), ["10.3.0.0/24"], False),
        (("0.0.0.0/0", 0, 0), ["0.0.0.0/0"], True),
        (("10.0.0.0/8", 0, 0), ["10.0.0.0/8"], True),  # of a default route
        (("10.0.0.0/8", 32, 128), ["10.0.0.0/8"], False),
        (("10.0.0.0/8", 0, 16), ["10.3.0.0/24"], False),
    ],
)
def test_what_nobody_offers(
    search: tuple[str, int, int], prefixes: list[str], answered: bool
) -> None:
    shown = snapshot(
        [], of=manager(searches=(("x", *search),)), networks=tuple(map(network, prefixes))
    )
    assert list(unanswered(shown)) == ([] if answered else [("x", search[0])])


def test_a_way_that_nobody_measured(service: Service, bus: dict[str, str]) -> None:
    lan = network(LAN, "n3", candidates=((node_id("n3"), 1, ""),))
    service.publish(manager=manager(), peers=(peer("n3"),), networks=(lan,))
    for verb in (["networks"], ["networks", LAN]):
        assert "unknown" in run(*verb, **bus).out


def test_nothing_at_all(service: Service, bus: dict[str, str]) -> None:
    service.publish(manager=manager(), device=device())
    assert run("networks", **bus).out == "0 networks\n"
    assert "network" not in run("status", **bus).out


def test_status_and_peer_mention_networks(mesh: Service, bus: dict[str, str]) -> None:
    status = run("status", **bus).out
    assert "2 networks: 1 carried, 1 by nobody" in status and "3 offers\n" in status
    lines = [line.split() for line in run("peer", "n3", **bus).out.splitlines()]
    assert ["offers", LAN, "at", "32", "Mbit/s"] in lines
    assert ["carries", f"{LAN},", "1", "minute", "ago"] in lines
    assert not any(line[0] == "carries" for line in map(str.split, _lines("peer", "n5", **bus)))


def _lines(*args: str, **env: str) -> list[str]:
    return run(*args, **env).out.splitlines()


def test_the_schema_of_json(mesh: Service, bus: dict[str, str]) -> None:
    found = json.loads(run("networks", "--json", **bus).out)
    assert set(found) == {"schema", "networks", "offers", "searches"}
    lan, wide = found["networks"]
    assert lan["Prefix"] == LAN and wide["Gateway"] == "/" and set(lan) == set(wide)
    assert set(lan) == set(properties(network(LAN, *NODES)))
    assert found["offers"][0] == ["10.9.0.0/16", 32_000_000, ["10.9.0.0/16"]]
    assert found["searches"][0] == ["lans", "10.0.0.0/8", 8, 128]
    assert json.loads(run("networks", LAN, "--json", **bus).out) == {"schema": 1, "network": lan}
    assert json.loads(run("status", "--json", **bus).out)["networks"] == [lan, wide]
    assert json.loads(run("peer", "n3", "--json", **bus).out)["networks"] == [lan]


#: What is typed, what the service is asked for, what is printed.
VERBS: list[tuple[list[str], tuple[str, Any], str]] = [
    (
        ["offer", LAN, "--bandwidth", "32M", "--while-route"],
        ("offer", {"network": LAN, "bandwidth": 32_000_000, "while-route": True}),
        f"offers {LAN}\n",
    ),
    (
        [
            *("offer", "10.0.0.0/8", "--from-table", "main", "--min-prefix-length", "16"),
            *("--max-prefix-length", "24", "--no-aggregate"),
        ],
        (
            "offer",
            {
                **{"network": "10.0.0.0/8", "from-table": 254, "min-prefix-length": 16},
                **{"max-prefix-length": 24, "aggregate": False},
            },
        ),
        "offers 10.0.0.0/8\n",
    ),
    (["withdraw", LAN], ("withdraw", LAN), f"offers {LAN} no more\n"),
    (
        ["search", "fd00::/8"],
        ("search", {"network": "fd00::/8"}),
        "searches fd00::/8\n  nobody offers it yet\n",
    ),
    (
        [
            *("search", "10.0.0.0/8", "--name", "lans", "--min-prefix-length", "0"),
            *("--max-prefix-length", "24", "--gateway-name", "n3", "--gateway-id", "AB" * 28),
            *("--min-bandwidth", "1.5G", "--rating", "50", "--hysteresis", "0", "--metric", "9"),
            *("--table", "78", "--rule", "100", "--no-allow-overlap", "--no-break-overlap"),
        ],
        (
            "search",
            {
                **{"network": "10.0.0.0/8", "name": "lans", "min-prefix-length": 0},
                **{"max-prefix-length": 24, "gateway-name": "n3", "gateway-id": "AB" * 28},
                **{"min-bandwidth": 1_500_000_000, "rating": 50, "hysteresis": 0, "metric": 9},
                **{"table": 78, "rule": 100, "allow-overlap": False, "break-overlap": False},
            },
        ),
        "searches 10.0.0.0/8\n",
    ),
    (["forget", "lans"], ("forget", "lans"), "searches lans no more\n"),
]


@pytest.mark.parametrize("args, asked, told", VERBS, ids=lambda item: str(item)[:24])
def test_a_change(
    mesh: Service, bus: dict[str, str], args: list[str], asked: tuple[str, Any], told: str
) -> None:
    done = run(*args, **bus)
    assert (done.status, done.err) == (0, "")
    assert mesh.controller.asked == [asked]
    assert done.out.startswith(told)
    found = json.loads(run(*args, "--json", **bus).out)
    members = {"offers"} if args[0] in ("offer", "withdraw") else {"searches", "networks"}
    assert set(found) == {"schema", *members}


def test_a_change_that_is_refused(mesh: Service, bus: dict[str, str]) -> None:
    where = f"{LAN} is offered by /etc/bmx7-wg/config.toml:3; change it there"
    mesh.controller.refusal = CallError(errors.INVALID_ARGUMENT, where)
    for args, _, _ in VERBS:
        done = run(*args, **bus)
        assert (done.status, done.out) == (1, "") and where in done.err


@pytest.mark.parametrize(
    "args, text",
    [
        (["offer"], "PREFIX"),
        (["offer", LAN, "--bandwidth", "fast"], '"fast" is no rate'),
        (["offer", LAN, "--from-table", "local"], '"local" is no whole number'),
        (["search", LAN, "--rating", "-5"], "--rating"),
        (["search", LAN, "--metric", "9" * 40], "is no whole number"),
        (["withdraw"], "NETWORK"),
    ],
)
def test_a_wrong_usage(args: list[str], text: str) -> None:
    done = run(*args)
    assert (done.status, done.out) == (2, "") and text in done.err


@pytest.mark.parametrize(
    "text, bits",
    [
        ("9600", 9600),
        ("512k", 512_000),
        ("32M", 32_000_000),
        ("32 Mbit/s", 32_000_000),
        ("1.5G", 1_500_000_000),
        ("0.036k", 36),
        ("1T", 10**12),
        ("1mbit", 1_000_000),
    ],
)
def test_rates_are_read_as_they_are_written(text: str, bits: int) -> None:
    assert parse_rate(text) == bits
    assert parse_rate(rate(bits)) == bits


@pytest.mark.parametrize("text", ["", "M", "1.2.3M", "-1", "1e9", "32 X", "32MB", "٣M", "9" * 16])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate(text)


def test_monitor_tells_each_switch_and_why(mesh: Service, bus: dict[str, str]) -> None:
    lan = network(LAN, *NODES)
    other = network(LAN, "n5", "n3", reason="n3 is lost")
    with monitoring(**bus) as process:
        assert "2 peers" in line_of(process)
        assert line_of(process).endswith(
            "2 networks: 1 carried, 1 by nobody; 1 search without an offer"
        )
        mesh.publish(networks=(other,))
        assert line_of(process).endswith(f"  {LAN}         moved from n3 to n5: n3 is lost")
        worth = tuple((path, bits // 2, why) for path, bits, why in other.candidates)
        mesh.publish(networks=(replace(other, candidates=worth),))  # is not told
        mesh.publish(networks=(replace(other, gateway=None, reason="none answers"),))
        assert line_of(process).endswith("no longer through n5: none answers")
        mesh.publish(networks=(replace(other, gateway=None, reason="none is there"),))
        assert line_of(process).endswith("carried by nobody: none is there")
        mesh.publish(networks=(replace(lan, reason=""),))
        assert line_of(process).endswith("now through n3")
        mesh.publish(networks=(network(LAN, "n3", "n77"),))
        assert line_of(process).endswith(f"also offered by {str(node_id('n77'))[:12]}")
        assert line_of(process).endswith("no longer offered by n5")
        mesh.publish(networks_gone=(lan.prefix,))
        assert line_of(process).endswith("gone")
        mesh.publish(networks=(lan,))
        assert line_of(process).endswith("new, through n3: the best of 2")
        mesh.publish(manager=manager(offers=(("::/0", 5, ("::/0",)),)))
        assert line_of(process).endswith("offers ::/0")
        assert line_of(process).endswith("searches none")


def test_monitor_tells_switches_in_json(mesh: Service, bus: dict[str, str]) -> None:
    other = network(LAN, "n5", "n3", reason="n3 is lost", since=time.time_ns() // 1000)
    with monitoring("--json", **bus) as process:
        snapshot = json.loads(line_of(process))
        before = snapshot["networks"][0]
        mesh.publish(networks=(other,))
        event = json.loads(line_of(process))
        assert event["event"] == "network-changed"
        assert event["network"] == properties(other)
        assert event["before"] == {
            name: before[name] for name in ("Gateway", "Reason", "Candidates", "Since")
        }
        mesh.publish(networks_gone=(other.prefix,))
        event = json.loads(line_of(process))
        assert (event["event"], event["network"]) == ("network-removed", properties(other))


def test_a_gateway_that_went_is_called_by_its_id(mesh: Service, bus: dict[str, str]) -> None:
    mesh.publish(gone=(node_id("n3"),))
    out = run("networks", LAN, **bus).out
    assert f"carried by {str(node_id('n3'))[:12]}\n" in out and "gone" in out
    with monitoring(**bus) as process:
        line_of(process), line_of(process)
        mesh.publish(networks=(network(LAN, "n5"),))
        moved = f"moved from {str(node_id('n3'))[:12]} to n5"
        assert moved in line_of(process)


def test_hostile_reasons_reach_no_terminal(mesh: Service, bus: dict[str, str]) -> None:
    hostile = "\x1b[2J\u202e\n"
    lan = network(LAN, "h1", reason=hostile, candidates=((node_id("h1"), 5, hostile),))
    mesh.publish(networks=(lan,), peers=(peer("h1", name=hostile, state=PeerState.CONNECTED),))
    for verb in (["networks"], ["networks", LAN], ["networks", "--json"], ["status"]):
        out = run(*verb, **bus).out
        assert all(char == "\n" or char.isprintable() for char in out), repr(out)


def test_words_for_the_shells(mesh: Service, bus: dict[str, str]) -> None:
    def words(verb: str) -> list[str]:
        return [line.partition("\t")[0] for line in _lines("completion-words", verb, **bus)]

    assert words("networks") == [LAN, WIDE]
    assert words("withdraw") == ["10.9.0.0/16", "0.0.0.0/0", "172.16.0.0/12"]
    assert words("forget") == ["lans", "fd00::/8", "far"]
    assert words("search") == [LAN]
