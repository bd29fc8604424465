"""``config check`` and ``config show``, without the service."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import tomllib

from bmx7wg.configfiles import CHANGES, read
from bmx7wg.core.config import KEYS, parse

from .conftest import Finished, run


def test_an_absent_configuration_is_valid(tmp_path: Path) -> None:
    done = run("config", "check", "--config-dir", str(tmp_path / "none"))
    assert (done.status, done.err) == (0, "")
    assert done.out == f"{tmp_path}/none is not there: all is default\n"
    assert run("config", "check", "--config-dir", str(tmp_path)).out == f"{tmp_path} is valid\n"


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[device]\nprot = 1\nport = "x"\n')
    for verb in ("check", "show"):
        done = run("config", verb, "--config-dir", str(tmp_path))
        first, second, count = done.out.splitlines()
        assert done.status == 1 and count == "2 problems"
        assert (
            first.startswith(f"{tmp_path}/config.toml:2: device.prot: ") and "device.port" in first
        )
        assert second.startswith(f"{tmp_path}/config.toml:3: device.port: ")
        answer = json.loads(run("config", verb, "--json", "--config-dir", str(tmp_path)).out)
        told = {"valid": False, "problems": [first, second], "unknown": ""}
        assert answer == {"schema": 1, **told}


def test_show_says_what_and_where_from(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "config.toml").write_text('[discovery.link]\ninterfaces = ["eth*"]\n')
    (tmp_path / "conf.d/a.toml").write_text('[discovery.link]\ninterfaces = ["!eth9"]\n')
    done = run("config", "show", "--config-dir", str(tmp_path))
    (line,) = [line for line in done.out.splitlines() if line.startswith("interfaces")]
    assert line.split("  # ")[0].rstrip() == 'interfaces = ["eth*", "!eth9"]'
    assert line.endswith(f"# {tmp_path}/config.toml:2, {tmp_path}/conf.d/a.toml:2")
    assert 'name = "wgBmx7"                           # default' in done.out
    answer = json.loads(run("--json", "config", "show", "--config-dir", str(tmp_path)).out)
    settings = {item["key"]: item for item in answer["settings"]}
    assert list(settings) == list(KEYS)
    assert settings["discovery.link.interfaces"]["value"] == ["eth*", "!eth9"]
    assert settings["device.port"] == {"key": "device.port", "value": 6277, "origin": "default"}


def test_what_show_prints_is_a_configuration_of_the_same_meaning(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    (one / "config.toml").write_text(
        '[trust]\nsecret-file = "/s \\" \\\\ \\u202e \\U000e0041 \\u001b é"\n'
        f'nodes = ["{"AB" * 28}"]\n[discovery]\ngrace = 7\n[device]\nfirewall-mark = 17\n'
    )
    text = run("config", "show", "--config-dir", str(one)).out
    assert text.replace("\n", "").isprintable()
    (other / "config.toml").write_text(text)
    assert parse(read(one)).config == parse(read(other)).config
    assert tomllib.loads(text)["device"]["firewall-mark"] == 17


K2, K3 = "AgIC" * 10 + "AgI=", "AwMD" * 10 + "AwM="
N3, N4, N5 = "03" * 28, "04" * 28, "05" * 28


def kept(state: Path, text: str) -> None:
    state.mkdir(exist_ok=True)
    (state / CHANGES).write_text(text)


def show(files: Path, state: Path, *more: str, **changes: Any) -> Finished:
    where = ("--config-dir", str(files), "--state-dir", str(state))
    return run("config", "show", *where, *more, **changes)


def test_peers_are_shown_without_their_secret(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        f'[[peer]]\npublic-key = "{K2}"\nallowed-ips = ["10.2.0.0/16"]\nname = "far"\n'
        f'[[peer]]\npublic-key = "{K3}"\nnode-id = "{N3}"\npreshared-key = "{K2}"\n'
    )
    done = show(tmp_path, tmp_path)
    assert f"[[peer]]{'':34}# {tmp_path}/config.toml:1\n" in done.out
    assert f'public-key = "{K2}"\nname = "far"\nallowed-ips = ["10.2.0.0/16"]\n' in done.out
    assert f'public-key = "{K3}"\nnode-id = "{N3}"\n# preshared-key is set\n' in done.out
    assert done.out.count(K2) == 1
    answer = show(tmp_path, tmp_path, "--json")
    far, three = json.loads(answer.out)["peers"]
    assert far["values"]["allowed-ips"] == ["10.2.0.0/16"] and not far["has_preshared_key"]
    assert three["origin"] == f"{tmp_path}/config.toml:5" and three["has_preshared_key"]
    assert three["values"] == {"public-key": K3, "node-id": N3} and answer.out.count(K2) == 1


def test_offers_and_searches_are_shown_with_their_origin(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "config.toml").write_text(
        '[[offer]]\nnetwork = "10.9.0.0/16"\nbandwidth = 32000000\nwhile-route = true\n'
    )
    kept(
        state,
        '[[offer]]\nnetwork = "10.9.0.0/16"\n[[offer]]\nnetwork = "::/0"\n'
        f'[[search]]\nnetwork = "10.0.0.0/8"\nname = "lans"\ngateway-id = "{N3}"\n',
    )
    done = show(tmp_path, state)
    ours = 'network = "10.9.0.0/16"\nbandwidth = 32000000\nwhile-route = true\n'
    assert f"[[offer]]{'':33}# {tmp_path}/config.toml:1\n{ours}" in done.out
    assert f"[[offer]]{'':33}# {state}/bus.toml:3\n" in done.out, "files come before the bus"
    parsed = tomllib.loads(done.out)
    assert [offer["network"] for offer in parsed["offer"]] == ["10.9.0.0/16", "::/0"]
    assert parsed["search"] == [{"network": "10.0.0.0/8", "name": "lans", "gateway-id": N3}]
    answer = json.loads(show(tmp_path, state, "--json").out)
    assert [offer["origin"] for offer in answer["offers"]] == [
        f"{tmp_path}/config.toml:1",
        f"{state}/bus.toml:3",
    ]
    (search,) = answer["searches"]
    assert search == {"values": parsed["search"][0], "origin": f"{state}/bus.toml:5"}


def test_changes_made_on_the_bus_are_told_apart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "config.toml").write_text(
        f'trust.blocked = ["{N4}"]\n[[peer]]\npublic-key = "{K2}"\nnode-id = "{N3}"\n'
    )
    kept(
        state,
        f'[trust]\nblocked = ["{N4}", "{N3}"]\n'
        f'[[peer]]\npublic-key = "{K2}"\nname = "mine"\nnode-id = "{N5}"\n'
        f'[[peer]]\npublic-key = "{K3}"\nnode-id = "{N4}"\n',
    )
    done = show(tmp_path, state)
    parsed = tomllib.loads(done.out)
    assert parsed["trust"]["blocked"] == [N4, N3]
    origin = f"# {tmp_path}/config.toml:1, {state}/bus.toml:2"
    assert f"blocked = [{'':31}{origin}\n  \"{N4}\",\n  \"{N3}\",\n]\n" in done.out
    # What the administrator's files say of a key, the bus does not undo.
    assert parsed["peer"] == [
        {"public-key": K2, "node-id": N3},
        {"public-key": K3, "node-id": N4},
    ]
    assert f"# {state}/bus.toml:7\n" in done.out


def test_what_only_root_may_read_is_said_to_be_unknown() -> None:
    with tempfile.TemporaryDirectory() as name:
        place, state = Path(name), Path(name) / "state"
        place.chmod(0o755)
        kept(state, "[trust]\n")
        state.chmod(0o700)
        unknown = f"changes made on the bus are not known: only root reads {state}/bus.toml"
        done = show(place, state, user=65534)
        assert done.status == 0 and done.out.startswith(f"# {unknown}\n\n[node]\n")
        assert json.loads(show(place, state, "--json", user=65534).out)["unknown"] == unknown
        where = ("--config-dir", name, "--state-dir", str(state))
        done = run("config", "check", *where, user=65534)
        assert (done.status, done.out) == (0, f"{name} is valid\n{unknown}\n")
        assert json.loads(run("config", "check", *where, "--json").out)["unknown"] == ""


def test_what_is_wrong_with_the_changes_is_told(tmp_path: Path) -> None:
    where = ("--config-dir", str(tmp_path), "--state-dir", str(tmp_path))
    kept(tmp_path, "[trust]\nblocked = 5\n")
    done = run("config", "check", *where)
    assert done.status == 1 and f"{tmp_path}/bus.toml:2: trust.blocked: " in done.out
    (tmp_path / CHANGES).unlink()
    (tmp_path / CHANGES).mkdir()
    assert f"{tmp_path}/bus.toml: " in run("config", "check", *where).out


def test_an_unreadable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    done = run("config", "check", "--config-dir", str(tmp_path))
    assert done.status == 1 and f"{tmp_path}/config.toml" in done.out
