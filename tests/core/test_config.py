from __future__ import annotations

import pytest

from bmx7wg.core.config import KEYS, Config, ConfigError, ConfigSource, Loaded, parse

NODE = "54BF9F2348D362BE9CE6D64D35B078F2E3B8DF28DB7B50C6986F6BF0"


def load(*texts: str | bytes) -> Loaded:
    raw = (text.encode() if isinstance(text, str) else text for text in texts)
    return parse(ConfigSource(f"{n}.toml", content) for n, content in enumerate(raw))


def problems(*texts: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*texts)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def test_nothing_said_is_the_default() -> None:
    for loaded in (load(), load(""), load("# only a comment\n", "[node]\n[discovery.bmx7]\n")):
        assert loaded.config == Config()
        assert set(loaded.values) == set(loaded.origins) == set(KEYS)
        assert set(loaded.origins.values()) == {"default"}


def test_every_key_is_read_and_says_where_it_comes_from() -> None:
    text = f"""
[node]
name = "n-1"
key = "session"
[device]
name = "wg7"
backend = "userspace"
port = 1
mtu = 1280
firewall-mark = 0xFFFFFFFF
keepalive = 25
[discovery]
source = "link"
grace = 0
[discovery.bmx7]
runtime-dir = "/run/other"
command = "/opt/bmx7"
[discovery.link]
interfaces = ["eth*", "!eth3"]
[trust]
accept = "listed"
nodes = ["{NODE}"]
blocked = ["{NODE.lower()}"]
secret-file = "/etc/secret"
"""
    loaded = load(text)
    lines = text.splitlines()
    for key in KEYS:
        name, line = loaded.origins[key].split(":")
        assert name == "0.toml"
        assert lines[int(line) - 1].startswith(key.rpartition(".")[2] + " =")
        assert loaded.values[key] != load().values[key]
    config = loaded.config
    assert (config.device.firewall_mark, config.discovery.grace) == (0xFFFFFFFF, 0)
    assert config.discovery.link.interfaces == ("eth*", "!eth3")
    assert config.trust.nodes == config.trust.blocked


def test_later_wins_and_lists_add_up() -> None:
    loaded = load(
        'device.port = 1\n[discovery.link]\ninterfaces = ["a", "b"]\n',
        '[device]\n\nport = 2\n[discovery.link]\ninterfaces = ["b", "!c"]\n',
    )
    assert loaded.config.device.port == 2 and loaded.origins["device.port"] == "1.toml:3"
    assert loaded.config.discovery.link.interfaces == ("a", "b", "!c")
    assert loaded.origins["discovery.link.interfaces"] == "0.toml:3, 1.toml:5"


@pytest.mark.parametrize(
    "text, problem",
    [
        (
            "[device]\nprot = 5",
            '0.toml:2: device.prot: unknown key; did you mean "device.port"?',
        ),
        ("[devise]\nport = 5", '0.toml:1: devise: unknown key; did you mean "device"?'),
        ("zzz = 5", "0.toml:1: zzz: unknown key"),
        ("\nnode = 5", "0.toml:2: node: is a section; write [node]"),
        (
            "[device]\nport = 70000",
            "0.toml:2: device.port: 70000 is out of range; 1 to 65535",
        ),
        (
            "[device]\nmtu = 1000",
            "0.toml:2: device.mtu: 1000 is out of range; 1280 to 65455, or 0",
        ),
        ('[device]\nport = "1"', "0.toml:2: device.port: is a string; a whole number is needed"),
        ("[device]\nport = true", "0.toml:2: device.port: is a boolean; a whole number is needed"),
        ("[device]\nport = 1.0", "0.toml:2: device.port: is a number; a whole number is needed"),
        (
            "[device]\nport = 1979-05-27",
            "0.toml:2: device.port: is a date or time; a whole number is needed",
        ),
        (
            '[device]\nname = "sixteen-letters-"',
            '0.toml:2: device.name: "sixteen-letters-" is not allowed; needed: an interface name '
            "of 1 to 15 characters",
        ),
        (
            '[device]\nname = "a/b"',
            '0.toml:2: device.name: "a/b" is not allowed; needed: an interface name without '
            "'/', ':' or white space",
        ),
        (
            '[discovery]\nsource = "lnk"',
            '0.toml:2: discovery.source: "lnk" is not allowed; one of "auto", "bmx7", "link"; '
            'did you mean "link"?',
        ),
        (
            '[discovery.link]\ninterfaces = "eth0"',
            "0.toml:2: discovery.link.interfaces: is a string; a list of strings is needed",
        ),
        (
            "[discovery.link]\ninterfaces = [7]",
            "0.toml:2: discovery.link.interfaces: is a whole number; a string is needed",
        ),
        (
            '[trust]\nnodes = ["12"]',
            '0.toml:2: trust.nodes: "12" is not allowed; needed: a node id is 56 hexadecimal '
            "digits",
        ),
        (
            '[trust]\nsecret-file = "here"',
            '0.toml:2: trust.secret-file: "here" is not allowed; needed: an absolute path',
        ),
        (
            '[node]\nname = "no dots.please"',
            '0.toml:2: node.name: "no dots.please" is not allowed; needed: letters, digits and '
            "inner hyphens, at most 63",
        ),
        (
            '[[offer]]\nprefix = "::/0"',
            "0.toml:1: offer: is not supported by this version; remove the section",
        ),
        ("a = 1\nb =", "0.toml:2: not valid TOML: Invalid value"),
        ("a = 1\na = 2", "0.toml:2: not valid TOML: Cannot overwrite a value"),
        (b"a = 1\n# \xff", "0.toml:2: not UTF-8; save the file as UTF-8 text"),
    ],
)
def test_problems_say_what_where_and_what_to_do(text: str | bytes, problem: str) -> None:
    assert problems(text) == [problem]


def test_all_problems_are_told_at_once() -> None:
    found = problems("[device]\nport = 0\nmtu = -1", "x =", "[trust]\naccept = 5")
    assert [line.split(": ")[0] for line in found] == [
        "0.toml:2",
        "0.toml:3",
        "1.toml:1",
        "2.toml:2",
    ]


def test_what_is_shown_of_a_value_is_bounded_and_on_one_line() -> None:
    (found,) = problems('[discovery]\nsource = "' + "x\\n\\u001b" * 500 + '"')
    assert len(found) < 200 and found.isprintable()
