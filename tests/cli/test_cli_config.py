"""``config check`` and ``config show``, without the service."""

from __future__ import annotations

import json
from pathlib import Path

import tomllib

from bmx7wg.configfiles import read
from bmx7wg.core.config import KEYS, parse

from .conftest import run


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
        assert answer == {"schema": 1, "valid": False, "problems": [first, second]}


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


def test_an_unreadable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    done = run("config", "check", "--config-dir", str(tmp_path))
    assert done.status == 1 and f"{tmp_path}/config.toml" in done.out
