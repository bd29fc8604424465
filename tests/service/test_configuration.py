from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address
from pathlib import Path

import pytest

from bmx7wg.core.config import ConfigError
from bmx7wg.core.identity import NodeId
from bmx7wg.core.model import Endpoint, OfferRule, Search, StaticPeer
from bmx7wg.service.configuration import Configuration
from bmx7wg.service.store import Store, StoreError

ONE, TWO = NodeId(b"\x01" * 28), NodeId(b"\x02" * 28)
FULL = StaticPeer(
    b"k" * 32,
    "office",
    ONE,
    Endpoint(IPv6Address("2001:db8::1"), 51820),
    (IPv4Network("10.0.0.0/8"),),
    b"p" * 32,
    25,
)
NET = IPv4Network("10.3.0.0/24")
BARE = StaticPeer(b"l" * 32, allowed_ips=(IPv4Network("192.0.2.0/24"),))


class Place:
    def __init__(self, path: Path) -> None:
        self.files = path / "etc"
        self.files.mkdir()
        self.state = path / "state"

    def write(self, text: str) -> None:
        (self.files / "config.toml").write_text(text)

    def load(self) -> Configuration:
        return Configuration(self.files, Store(self.state))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_changes_outlive_the_service(place: Place) -> None:
    first = place.load()
    first.block(TWO)
    first.add_peer(FULL)
    settings = first.add_peer(BARE)
    assert settings.config.peers == (FULL, BARE)
    assert settings.config.trust.blocked == (TWO,)
    again = place.load()
    assert again.settings == settings
    assert not list(place.files.iterdir()), "the administrator's files are left alone"
    assert (place.state / "bus.toml").stat().st_mode & 0o777 == 0o600
    again.unblock(TWO)
    again.remove_peer(FULL.identity)
    offer, search = OfferRule(NET, 5000), Search(NET, "lans", rating=50)
    again.offer(offer)
    config = again.search(search).config
    assert (config.offers, config.searches) == ((offer,), (search,))
    assert place.load().settings.config == config
    again.withdraw(NET)
    again.forget("lans")
    for forget in (lambda: again.withdraw(NET), lambda: again.forget("lans")):
        with pytest.raises(KeyError):
            forget()
    assert again.remove_peer(BARE.identity) == place.load().settings
    assert place.load().settings.config.peers == ()


def test_the_administrators_files_come_first(place: Place) -> None:
    place.load().add_peer(FULL)
    place.load().block(TWO)
    place.write(
        f'[trust]\nblocked = ["{TWO}"]\n[[peer]]\nnode-id = "{ONE}"\n'
        'public-key = "CC7uKzlyRGyJRAPUoVC4F1pDZ1SwuakL8SVz8WZ1TYU="\n'
    )
    configuration = place.load()
    (peer,) = configuration.settings.config.peers
    assert peer.public_key != FULL.public_key
    assert configuration.settings.config.trust.blocked == (TWO,)
    with pytest.raises(ValueError, match="is blocked by the files in"):
        configuration.unblock(TWO)
    with pytest.raises(ValueError, match="is in the files in"):
        configuration.remove_peer(ONE)
    with pytest.raises(ValueError, match="is there already"):
        configuration.add_peer(FULL)


def test_what_was_never_added_can_not_be_removed(place: Place) -> None:
    with pytest.raises(KeyError):
        place.load().remove_peer(ONE)


def test_a_broken_file_leaves_all_as_it_was(place: Place) -> None:
    configuration = place.load()
    configuration.block(TWO)
    before = configuration.settings
    place.write("[devise]\n")
    with pytest.raises(ConfigError, match="unknown key"):
        configuration.reload()
    assert configuration.settings == before
    configuration.block(ONE)
    assert configuration.settings.config.trust.blocked == (TWO, ONE), "changes still count"
    place.write('[trust]\nsecret-file = "/nowhere"\n')
    with pytest.raises(StoreError, match="No such file"):
        configuration.reload()
    place.write("device.port = 7")
    assert configuration.reload().config.device.port == 7


def test_a_change_that_can_not_be_kept_does_not_count(place: Place) -> None:
    configuration = place.load()
    (place.state / ".bus.toml.new").mkdir()
    with pytest.raises(StoreError, match="can't be written"):
        configuration.block(TWO)
    assert configuration.settings.config.trust.blocked == ()


def test_a_damaged_file_of_changes_says_where(place: Place) -> None:
    place.load().block(TWO)
    (place.state / "bus.toml").write_text("[trust]\nblocked = [7]\n")
    with pytest.raises(ConfigError, match="bus.toml:2: trust.blocked: is a whole number"):
        place.load()


def test_the_key(place: Place) -> None:
    configuration = place.load()
    key = configuration.settings.private_key
    assert place.load().settings.private_key == key
    assert configuration.switch_key(b"n" * 32).private_key == b"n" * 32
    assert place.load().settings.private_key == b"n" * 32
    place.write('node.key = "session"')
    session = place.load()
    assert session.settings.private_key not in (key, b"n" * 32)
    session.switch_key(b"s" * 32)
    place.write("")
    assert place.load().settings.private_key == b"n" * 32


def test_nothing_secret_is_shown(place: Place) -> None:
    configuration = place.load()
    shown = repr(configuration.add_peer(FULL))
    assert repr(FULL.preshared_key) not in shown
    assert repr(configuration.settings.private_key) not in shown
