"""What callers on the bus may have done; bus/ has asked polkit before it comes here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ..bus import errors
from ..bus.errors import CallError
from ..core import offers, searches, staticpeers
from ..core.config import ConfigError
from ..core.identity import NodeId, key_text
from ..core.keys import generate_private_key, public_key
from ..core.limits import MAX_NETWORKS, MAX_PEERS, MAX_SEARCHES
from ..core.model import Origin
from ..core.schema import Check, shown
from ..core.settings import Settings
from ..discovery.source import Source
from . import journal
from .configuration import Configuration
from .node import Node
from .store import StoreError

log = logging.getLogger("bmx7wg.service")

#: Seconds from announcing a new key to using it: what the announcement needs to be everywhere.
PREPARE: Final = {Origin.LINK: 2.0, Origin.BMX7: 15.0}
MAX_STATIC: Final = 1000  # peers that may be added on the bus

_T = TypeVar("_T")


def _made(
    said: Mapping[str, object], keys: Mapping[str, Check], build: Callable[[Mapping[str, Any]], _T]
) -> _T:
    """What *build* makes of what a caller said, once it is checked. Raises CallError."""
    checked = {}
    for key, value in said.items():
        if key not in keys:
            raise CallError(errors.INVALID_ARGUMENT, f"{key}: there is no such option")
        try:
            checked[key] = keys[key].check(value)
        except ValueError as error:
            raise CallError(errors.INVALID_ARGUMENT, f"{key}: {error}") from None
    try:
        return build(checked)
    except ValueError as error:
        raise CallError(errors.INVALID_ARGUMENT, str(error)) from None


@contextmanager
def _refusals(unknown: str = "") -> Iterator[None]:
    """What the configuration does not let be changed, as CallError."""
    try:
        yield
    except KeyError:
        raise CallError(errors.INVALID_ARGUMENT, unknown) from None
    except ValueError as error:
        raise CallError(errors.INVALID_ARGUMENT, f"{error}; change it there") from None


class Verbs:
    """The service as the bus knows it (bus/service.py, Controller).

    All raise CallError, with a name of design.md 7 and a sentence; nothing has changed then.
    """

    def __init__(
        self, node: Node, configuration: Configuration, source: Source, origin: Origin
    ) -> None:
        self._node = node
        self._configuration = configuration
        self._source = source
        self._origin = origin
        self._rotating = asyncio.Lock()

    async def refresh(self) -> None:
        await self._node.refresh()

    def counters(self) -> Mapping[str, int]:
        """What neighbours sent and what of it was refused, by reason, since the start."""
        return {**self._source.counters(), **self._node.refused}

    async def add_peer(self, said: Mapping[str, object]) -> NodeId:
        """Add a peer by hand; *said* has the keys of a [[peer]] and plain values."""
        peer = _made(said, staticpeers.KEYS, staticpeers.build)
        if len(self._configuration.settings.config.peers) >= MAX_STATIC:
            raise CallError(errors.LIMIT_REACHED, f"there are {MAX_STATIC} peers already")
        if peer.identity == self._node.node_id or peer.public_key == self._node.public_key:
            raise CallError(errors.INVALID_ARGUMENT, "this is the node itself")
        try:
            await self._change(lambda: self._configuration.add_peer(peer))
        except ValueError as error:
            raise CallError(errors.PEER_EXISTS, str(error)) from None
        return peer.identity

    async def remove_peer(self, node_id: NodeId) -> None:
        """Remove a peer that was added on the bus."""
        try:
            await self._change(lambda: self._configuration.remove_peer(node_id))
        except KeyError:
            text = f"no peer {node_id} was added; one that was found can be blocked"
            raise CallError(errors.NO_SUCH_PEER, text) from None
        except ValueError as error:
            raise CallError(errors.INVALID_ARGUMENT, f"{error}; remove it there") from None

    async def block(self, node_id: NodeId) -> None:
        """Keep a node out, whether it is there or not."""
        if len(self._configuration.settings.config.trust.blocked) >= MAX_PEERS:
            raise CallError(errors.LIMIT_REACHED, f"{MAX_PEERS} nodes are blocked already")
        await self._change(lambda: self._configuration.block(node_id))

    async def unblock(self, node_id: NodeId) -> bool:
        """Let a node in again that was blocked on the bus; returns whether it was."""
        blocked = node_id in self._configuration.settings.config.trust.blocked
        with _refusals():
            await self._change(lambda: self._configuration.unblock(node_id))
        return blocked

    async def offer_network(self, said: Mapping[str, object]) -> None:
        """Carry a network; *said* has the keys of an [[offer]] and plain values."""
        offer = _made(said, offers.KEYS, offers.build)
        others = [
            other
            for other in self._configuration.settings.config.offers
            if other.network != offer.network
        ]
        if len(others) >= MAX_NETWORKS:
            raise CallError(errors.LIMIT_REACHED, f"{MAX_NETWORKS} networks are offered already")
        with _refusals():
            await self._change(lambda: self._configuration.offer(offer))

    async def withdraw_network(self, network: str) -> None:
        """Carry a network no more that was offered on the bus."""
        prefix = _made({"network": network}, offers.KEYS, offers.build).network
        with _refusals(f"{prefix} is not offered"):
            await self._change(lambda: self._configuration.withdraw(prefix))

    async def search_network(self, said: Mapping[str, object]) -> None:
        """Look for networks; *said* has the keys of a [[search]] and plain values."""
        search = _made(said, searches.KEYS, searches.build)
        name = searches.name_of(search)
        config = self._configuration.settings.config
        others = [other for other in config.searches if searches.name_of(other) != name]
        if len(others) >= MAX_SEARCHES:
            raise CallError(errors.LIMIT_REACHED, f"there are {MAX_SEARCHES} searches already")
        with _refusals():
            await self._change(lambda: self._configuration.search(search))

    async def forget_search(self, text: str) -> None:
        """Forget the search with this name or, if it is the only one, this network."""
        names = [
            searches.name_of(search)
            for search in self._configuration.settings.config.searches
            if text in (searches.name_of(search), str(search.network))
        ]
        if text not in names and len(names) > 1:
            why = f"several searches are for {text}: {', '.join(sorted(names))}; say which by name"
            raise CallError(errors.INVALID_ARGUMENT, why)
        name = text if text in names or not names else names[0]
        with _refusals(f"there is no search {shown(text)}"):
            await self._change(lambda: self._configuration.forget(name))

    async def probe(self, node_id: NodeId) -> int:
        """The round trip to a peer in µs."""
        try:
            return round(await self._node.probe(node_id) * 1e6)
        except KeyError:
            raise CallError(
                errors.NOT_READY, f"peer {node_id} has no address in the mesh, or no device to it"
            ) from None
        except TimeoutError:
            raise CallError(errors.NO_REPLY, f"peer {node_id} does not answer") from None

    async def rotate_key(self) -> str:
        """Switch to a new WireGuard key; returns its public half once it is in use.

        The others are told before, so that they have it when it is used (design.md 4).
        """
        if self._rotating.locked():
            raise CallError(errors.NOT_READY, "the key is being changed already")
        if not self._node.has_device:
            raise CallError(errors.NOT_READY, "there is no device yet")
        async with self._rotating:
            private = generate_private_key()
            text = key_text(public_key(private))
            self._node.announce_next(public_key(private))
            try:
                await asyncio.sleep(PREPARE[self._origin])
                await self._change(lambda: self._configuration.switch_key(private))
            except BaseException:
                self._node.announce_next(b"")
                raise
            log.info("WireGuard's key was changed; the public key is %s", text)
            return text

    async def synchronize(self) -> None:
        """Read the source and the device anew."""
        await self._source.resync()
        self._node.look_again()
        await self._node.turn()

    async def reload(self) -> None:
        """Read the configuration anew."""
        try:
            self._node.reload_now()
        except (ConfigError, StoreError) as error:
            raise CallError(errors.INVALID_ARGUMENT, f"not reloaded: {error}") from None
        await self._node.turn()

    async def _change(self, change: Callable[[], Settings]) -> None:
        try:
            settings = change()
        except StoreError as error:
            raise CallError(errors.FAILED, str(error)) from None
        self._node.apply(settings)
        await self._node.turn()

    # -- org.freedesktop.LogControl1 ------------------------------------------------------------

    @property
    def log_level(self) -> str:
        return journal.level()

    @log_level.setter
    def log_level(self, word: str) -> None:
        try:
            journal.set_level(word)
        except ValueError as error:
            raise CallError(errors.INVALID_ARGS, str(error)) from None

    @property
    def log_target(self) -> str:
        return journal.target()

    @log_target.setter
    def log_target(self, word: str) -> None:
        try:
            journal.set_target(word)
        except ValueError as error:
            raise CallError(errors.INVALID_ARGS, str(error)) from None

    @property
    def syslog_identifier(self) -> str:
        return journal.IDENTIFIER
