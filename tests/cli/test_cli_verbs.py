"""The commands that change something, over a real bus, to a service that notes what was asked."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from bmx7wg.bus import errors
from bmx7wg.bus.errors import CallError
from bmx7wg.core.identity import NodeId
from bmx7wg.core.model import Origin, PeerState

from ..bus.daemon import Daemon
from .conftest import DEADLINE, Service, command, environment, run
from .made_up import device, key, manager, node_id, peer, peers, properties, silent

NOBODY = 65534
VERBS = (
    ["remove", "n3"],
    ["block", "n3"],
    ["unblock", "n3"],
    ["probe", "n3"],
    ["rotate-key"],
    ["reload"],
    ["sync"],
    ["add", "--public-key", key("n50")],
)


@pytest.fixture
def mesh(service: Service) -> Service:
    service.publish(manager=manager(), device=device(), peers=tuple(peers(5)))
    return service


def test_add_says_all_that_was_said(mesh: Service, bus: dict[str, str], tmp_path: Path) -> None:
    secret = tmp_path / "psk"
    secret.write_text(key("psk") + "\n")
    done = run(
        *("add", "--public-key", key("n50"), "--name", "n50", "--node-id", str(node_id("n50"))),
        *("--endpoint", "192.0.2.1:6277", "--allowed-ips", "10.1.0.0/16, 10.2.0.0/16"),
        *("--allowed-ips", "2001:db8::/32", "--keepalive", "25"),
        *("--preshared-key-file", str(secret)),
        **bus,
    )
    assert (done.status, done.out, done.err) == (0, "added peer n50 (configured)\n", "")
    said = {
        "public-key": key("n50"),
        "name": "n50",
        "node-id": str(node_id("n50")),
        "endpoint": "192.0.2.1:6277",
        "allowed-ips": ["10.1.0.0/16", "10.2.0.0/16", "2001:db8::/32"],
        "keepalive": 25,
        "preshared-key": key("psk"),
    }
    assert mesh.controller.asked == [("add", said)]


def test_add_says_only_what_was_said(mesh: Service, bus: dict[str, str]) -> None:
    done = run("--json", "add", "--public-key", key("n50"), **bus)
    assert mesh.controller.asked == [("add", {"public-key": key("n50")})]
    shown = json.loads(done.out)["peer"]
    assert (shown["NodeId"], shown["Origin"]) == (str(node_id("n50")), "static")


def test_a_preshared_key_from_standard_input(mesh: Service, bus: dict[str, str]) -> None:
    done = subprocess.run(
        command("add", "--public-key", key("n50"), "--preshared-key-file", "-"),
        input=key("psk"),
        env=environment(**bus),
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0
    assert mesh.controller.asked[0][1]["preshared-key"] == key("psk")


def test_a_preshared_key_is_never_shown(mesh: Service, bus: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "psk"
    for content in (b"geheim", b"", b"\x00" * 44, b"\xff" * 44, key("psk").encode() * 9):
        path.write_bytes(content)
        done = run("add", "--public-key", key("n50"), "--preshared-key-file", str(path), **bus)
        assert done.status == 1 and "44 characters" in done.err and "geheim" not in done.err
    for path in (tmp_path, tmp_path / "none"):
        done = run("add", "--public-key", key("n50"), "--preshared-key-file", str(path), **bus)
        assert done.status == 1 and str(path) in done.err
    assert mesh.controller.asked == []


@pytest.mark.parametrize(
    "args",
    ["", "--public-key", "--public-key K --keepalive -1", "--public-key K --keepalive 65536"],
)
def test_a_wrong_add_is_a_wrong_usage(args: str, bus: dict[str, str]) -> None:
    assert run("add", *args.split(), **bus).status == 2


def test_remove(mesh: Service, bus: dict[str, str]) -> None:
    mesh.publish(peers=(peer("n60", origin=Origin.STATIC),))
    done = run("remove", "n60", **bus)
    assert (done.status, done.out) == (0, "removed peer n60\n")
    assert mesh.controller.asked == [("remove", node_id("n60"))]
    view = peer("n61", last_handshake=7)
    mesh.publish(peers=(view,))
    assert json.loads(run("remove", "n61", "--json", **bus).out)["peer"] == properties(view)


def test_a_peer_that_is_removed_and_still_there(mesh: Service, bus: dict[str, str]) -> None:
    async def remove_peer(node_id: NodeId) -> None:
        """It is on the link, too."""

    mesh.controller.remove_peer = remove_peer  # type: ignore[method-assign]
    done = run("remove", "n3", **bus)
    assert done.out == "removed peer n3\nit is still there: found by link\n"


def test_block_and_unblock(mesh: Service, bus: dict[str, str]) -> None:
    assert run("block", str(node_id("n3"))[:8], **bus).out == "blocked peer n3\n"
    assert run("unblock", "N3", **bus).out == "unblocked peer n3 (configured)\n"
    answer = json.loads(run("block", key("n3"), "--json", **bus).out)
    assert answer["peer"]["State"] == "blocked" and answer["schema"] == 1
    assert json.loads(run("--json", "unblock", "n3", **bus).out)["peer"]["State"] == "configured"
    assert [asked[0] for asked in mesh.controller.asked] == ["block", "unblock"] * 2
    assert {asked[1] for asked in mesh.controller.asked} == {node_id("n3")}


def test_a_node_that_is_not_there(mesh: Service, bus: dict[str, str]) -> None:
    for verb in ("remove", "probe"):
        done = run(verb, str(node_id("n99")), **bus)
        assert (done.status, done.out) == (3, "") and "no peer" in done.err
    for verb in ("block", "unblock"):
        done = run(verb, str(node_id("n99"))[:55], **bus)
        assert (done.status, done.out) == (3, "") and "no peer" in done.err
        assert "whole node id" in done.err
    for verb in ("remove", "block", "unblock", "probe"):
        done = run(verb, str(node_id("n1")), **bus)
        assert done.status == 3 and "this node itself" in done.err
    assert mesh.controller.asked == []


def test_block_and_unblock_a_node_that_is_not_there(mesh: Service, bus: dict[str, str]) -> None:
    absent = str(node_id("n99"))
    done = run("unblock", absent, **bus)
    assert (done.status, done.out) == (3, "") and "neither there nor blocked" in done.err
    assert run("block", absent.lower(), **bus).out == f"blocked peer {absent[:12]}\n"
    answer = json.loads(run("unblock", absent, "--json", **bus).out)
    assert answer["peer"] == {"NodeId": absent}
    run("block", absent, **bus)
    assert run("unblock", absent, **bus).out == f"unblocked peer {absent[:12]} (not there)\n"
    assert {asked[1] for asked in mesh.controller.asked} == {node_id("n99")}


def test_probe_tells_the_round_trip(mesh: Service, bus: dict[str, str]) -> None:
    assert run("probe", "n3", **bus).out == "peer n3 answers in 1.23 ms\n"
    answer = json.loads(run("probe", "n3", "--json", **bus).out)
    assert answer["time_us"] == 1234 and answer["peer"]["Name"] == "n3"
    mesh.publish(peers=(peer("s1", address=""),))
    assert "is no node" in run("probe", "s1", **bus).err
    mesh.controller.refusal = CallError(errors.NO_REPLY, "peer 5 does not answer")
    done = run("probe", "n3", **bus)
    assert done.status == 1 and "peer n3 does not answer\n" in done.err and "doctor" in done.err


def test_rotate_key(mesh: Service, bus: dict[str, str]) -> None:
    assert run("rotate-key", **bus).out == f"the public key is now {key('new')}\n"
    told = run("rotate-key", COLUMNS="80", **bus).out.splitlines()
    assert len(told) == 2 and told[0].startswith("announcing a new key")
    assert json.loads(run("rotate-key", "--json", **bus).out)["public_key"] == key("new")


def test_reload_and_sync_tell_the_problems(mesh: Service, bus: dict[str, str]) -> None:
    done = run("sync", **bus)
    assert done.out == "peers and device were read anew; the service is running\n"
    done = run("reload", **bus)
    assert done.status == 0 and "the service is degraded\n1 problem\n  device.name: " in done.out
    manager = json.loads(run("reload", "--json", **bus).out)["manager"]
    assert manager["State"] == "degraded" and len(manager["Problems"]) == 1


def test_the_level_of_the_log(mesh: Service, bus: dict[str, str]) -> None:
    assert run("log-level", **bus).out == "info\n"
    assert run("log-level", "debug", **bus).out == "debug\n"
    assert json.loads(run("log-level", "--json", **bus).out) == {"schema": 1, "level": "debug"}
    assert run("log-level", "loud", **bus).status == 2


@pytest.mark.parametrize(
    "name, status, hint",
    [
        (errors.NO_SUCH_PEER, 3, "bmx7-wg peers"),
        (errors.PEER_EXISTS, 1, "bmx7-wg remove"),
        (errors.NOT_READY, 1, "bmx7-wg status"),
        (errors.INVALID_ARGUMENT, 1, ""),
        (errors.UNKNOWN_METHOD, 1, "version"),
        (errors.FAILED, 1, "journalctl"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(
    mesh: Service, bus: dict[str, str], name: str, status: int, hint: str
) -> None:
    mesh.controller.refusal = CallError(name, "That is why.")
    for verb in VERBS:
        done = run(*verb, **bus)
        assert (done.status, done.out) == (status, "")
        assert "That is why\n" in done.err and hint in done.err
    error = json.loads(run(*VERBS[1], "--json", **bus).out)["error"]
    assert error["status"] == status and "That is why" in error["message"]


def as_nobody(
    *args: str, place: Path, bus: dict[str, str], on_a_terminal: bool = False
) -> tuple[int, str]:
    """Run ``bmx7-wg`` as a user without rights; its status and what it wrote on standard error."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            command(*args),
            env=environment(PATH=f"{place}:/usr/bin:/bin", **bus),
            user=NOBODY,
            stdin=theirs if on_a_terminal else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stdout == "" and "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_who_may_not_is_told_how(mesh: Service, place: Path, bus: dict[str, str]) -> None:
    for verb in (*VERBS, ["log-level", "debug"]):
        status, told = as_nobody(*verb, place=place, bus=bus)
        assert status == 1 and told.startswith("bmx7-wg: not allowed: ")
        assert f"  as root: sudo bmx7-wg {' '.join(verb)}\n" in told
    assert mesh.controller.asked == [] and mesh.controller.log_level == "info"


def test_polkit_may_ask_on_the_terminal(mesh: Service, place: Path, bus: dict[str, str]) -> None:
    agent = place / "pkttyagent"
    # As pkttyagent: it tells when it is there by closing what it was given, and stays.
    agent.write_text('#!/bin/sh\necho "$@" >&2\neval "exec $4>&-"\nexec sleep 60\n')
    agent.chmod(0o755)
    assert "--notify-fd" not in as_nobody("block", "n3", place=place, bus=bus)[1]
    status, told = as_nobody("block", "n3", place=place, bus=bus, on_a_terminal=True)
    assert status == 1 and "not allowed" in told
    assert told.startswith("--process ") and "--fallback\n" in told


def test_what_a_node_can_be_completed_to(mesh: Service, bus: dict[str, str]) -> None:
    mesh.publish(
        peers=(
            peer("s1", origin=Origin.STATIC, address=""),
            silent("b1", PeerState.BLOCKED),
            silent("u1", PeerState.UNTRUSTED),
            peer("evil", name="$(reboot)"),
            peer("twin1", name="twin"),
            peer("twin2", name="Twin"),
        )
    )

    def words(verb: str) -> set[str]:
        return {
            line.split("\t")[0] for line in run("completion-words", verb, **bus).out.split("\n")
        }

    ids = {str(node_id(name))[:12] for name in ("evil", "twin1", "twin2")}
    found = {"n2", "n3", "n4", "n5", "n6", "s1", *ids, ""}
    assert words("peer") == found | {"b1", "u1"}
    assert words("block") == found | {"u1"}
    assert words("probe") == found - {"s1"}
    assert words("unblock") == {"b1", ""} and words("remove") == {"s1", ""}


def test_completing_is_silent_without_a_service(daemon: Daemon, bus: dict[str, str]) -> None:
    for env in (bus, {}):
        done = run("completion-words", "peer", **env)
        assert (done.status, done.out, done.err) == (0, "", "")
