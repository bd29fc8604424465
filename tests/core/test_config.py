from __future__ import annotations

import pytest

from bmx7wg.core.config import KEYS, Config, ConfigError, ConfigSource, Loaded, parse
from bmx7wg.core.identity import NodeId, parse_key

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
addresses = ["10.77.0.3/24", "2001:db8::3"]
forward = true
[discovery]
source = "link"
grace = 0
[discovery.bmx7]
runtime-dir = "/run/other"
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
    assert [str(address) for address in config.device.addresses] == [
        "10.77.0.3/24",
        "2001:db8::3/128",
    ]
    assert config.discovery.link.interfaces == ("eth*", "!eth3")
    assert config.trust.nodes == config.trust.blocked


KEY = "fzi3kcLCzKWx8lsNI72dv6GWb8Xg+XbtvhmLx8F8/fI="
OTHER = "CC7uKzlyRGyJRAPUoVC4F1pDZ1SwuakL8SVz8WZ1TYU="


def test_peers() -> None:
    loaded = load(
        f"""
[[peer]]
name = "office"
public-key = "{KEY}"
node-id = "{NODE}"
endpoint = "[2001:db8::1]:51820"
allowed-ips = ["10.0.0.0/8", "2001:db8:1::/48"]
preshared-key = "{OTHER}"
keepalive = 25
""",
        f"""[[peer]]
public-key = "{OTHER}"
allowed-ips = ["192.0.2.0/24"]
""",
    )
    one, two = loaded.config.peers
    assert loaded.peers == ("0.toml:2", "1.toml:1")
    assert (one.name, str(one.node_id), one.keepalive) == ("office", NODE, 25)
    assert str(one.endpoint) == "[2001:db8::1]:51820"
    assert [str(prefix) for prefix in one.allowed_ips] == ["10.0.0.0/8", "2001:db8:1::/48"]
    assert one.preshared_key == two.public_key and OTHER not in repr(loaded)
    assert two.node_id is None and two.identity != one.identity


@pytest.mark.parametrize(
    "text, problem",
    [
        ("[[peer]]\n", "0.toml:1: peer: public-key is missing"),
        (
            f'[[peer]]\npublic-key = "{KEY}"',
            "0.toml:1: peer: needs node-id or allowed-ips, or nothing can be sent to it",
        ),
        ("peer = 5", "0.toml:1: peer: is a list; write [[peer]]"),
        ("peer = [5]", "0.toml:1: peer[0]: is a list; write [[peer]]"),
        (
            '[[peer]]\n\npublick-key = "x"',
            '0.toml:3: peer.publick-key: unknown key; did you mean "public-key"?',
        ),
        (
            f'[[peer]]\npublic-key = "{KEY}"\nallowed-ips = ["10.0.0.1/8"]',
            '0.toml:3: peer.allowed-ips: "10.0.0.1/8" is not allowed; needed: a prefix without '
            "host bits, such as 10.0.0.0/8",
        ),
        (
            f'[[peer]]\npublic-key = "{KEY}"\nallowed-ips = ["fd77::/32"]',
            '0.toml:3: peer.allowed-ips: "fd77::/32" is not allowed; needed: a prefix outside '
            "fd77::/16: mesh addresses are computed",
        ),
        (
            f'[[peer]]\npublic-key = "{KEY}"\nendpoint = "[fe80::1]:1"',
            '0.toml:3: peer.endpoint: "[fe80::1]:1" is not allowed; needed: the address of '
            "another host, and not a link-local one",
        ),
        (
            f'[[peer]]\npublic-key = "{KEY}"\npreshared-key = "our secret"',
            "0.toml:3: peer.preshared-key: is not what is needed: 44 characters of base64",
        ),
        (
            f'[[peer]]\npublic-key = "{KEY}"\nnode-id = "{NODE}"\n'
            f'[[peer]]\npublic-key = "{OTHER}"\nnode-id = "{NODE}"',
            f"0.toml:4: peer: node {NODE} is there already",
        ),
        (
            f'[[peer]]\npublic-key = "{KEY}"\nallowed-ips = ["10.0.0.0/8"]\n'
            f'[[peer]]\npublic-key = "{OTHER}"\nallowed-ips = ["10.0.0.0/8"]\n'
            f'node-id = "{NODE}"',
            "0.toml:4: peer: node " "{first} has 10.0.0.0/8 already",
        ),
    ],
)
def test_problems_of_peers(text: str, problem: str) -> None:
    first = NodeId.of_public_key(parse_key(KEY))
    assert problems(text) == [problem.replace("{first}", str(first))]


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
        ("prot = 5", '0.toml:1: prot: unknown key; did you mean "device.port"?'),
        (
            "runtime-dir = 5",
            '0.toml:1: runtime-dir: unknown key; did you mean "discovery.bmx7.runtime-dir"?',
        ),
        ("per = 5", '0.toml:1: per: unknown key; did you mean "peer"?'),
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
            '[device]\naddresses = ["fd77::1/64"]',
            '0.toml:2: device.addresses: "fd77::1/64" is not allowed; needed: an address that is '
            "not inside fd77::/16 (the mesh's own addresses)",
        ),
        (
            "[device]\nforward = 1",
            "0.toml:2: device.forward: is a whole number; true or false is needed",
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
