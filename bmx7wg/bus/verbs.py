"""What changes something: arguments checked, the caller authorized, then the service asked.

From the moment that a caller is authorized his call is carried out, whether he waits or not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from ..core.identity import NodeId
from . import errors, options
from .authority import MANAGE_NETWORKS, MANAGE_PEERS, RELOAD, ROTATE_KEY, Authority, CallerGone
from .connection import Connection
from .contract import Method
from .controller import Controller
from .errors import BusUnavailable, CallError
from .library import Incoming
from .names import MANAGER, PEER, peer_of, peer_path
from .replies import answer_failure, arguments
from .tree import Tree
from .values import marshal

MAX_PENDING: Final = 16  # calls of one caller that wait for polkit or are carried out
MAX_PENDING_IN_ALL: Final = 1024

#: Does what was asked for; returns values for the method's result signature.
Work = Callable[[], Awaitable[tuple[Any, ...]]]
#: Returns if the caller may.
Check = Callable[[], Awaitable[None]]

#: Properties of LogControl1 that can be set, and what they are of the controller.
_LOG: Final = {"LogLevel": "log_level", "LogTarget": "log_target"}


class Verb(NamedTuple):
    """A method that changes something."""

    action: str  # polkit's
    prepare: Callable[[Incoming], Work]  # raises CallError for wrong arguments


class Verbs:
    """The methods that change something, and those calls of them that are under way."""

    def __init__(self, controller: Controller, tree: Tree) -> None:
        self.authority: Final = Authority()
        self._controller = controller
        self._tree = tree
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_caller: Counter[str] = Counter()
        self._table: Final[Mapping[tuple[str, str], Verb]] = {
            (MANAGER, "AddPeer"): Verb(MANAGE_PEERS, self._add_peer),
            (MANAGER, "RemovePeer"): Verb(MANAGE_PEERS, self._remove_peer),
            (MANAGER, "OfferNetwork"): Verb(
                MANAGE_NETWORKS,
                lambda call: _network(controller.offer_network, call, options.OFFER),
            ),
            (MANAGER, "WithdrawNetwork"): Verb(
                MANAGE_NETWORKS,
                lambda call: _plain(controller.withdraw_network, *arguments(call)),
            ),
            (MANAGER, "SearchNetwork"): Verb(
                MANAGE_NETWORKS,
                lambda call: _network(controller.search_network, call, options.SEARCH),
            ),
            (MANAGER, "ForgetSearch"): Verb(
                MANAGE_NETWORKS, lambda call: _plain(controller.forget_search, *arguments(call))
            ),
            (MANAGER, "RotateKey"): Verb(ROTATE_KEY, self._rotate_key),
            (MANAGER, "Synchronize"): Verb(RELOAD, lambda call: _plain(controller.synchronize)),
            (MANAGER, "Reload"): Verb(RELOAD, lambda call: _plain(controller.reload)),
            (PEER, "Block"): Verb(MANAGE_PEERS, lambda call: _plain(controller.block, _peer(call))),
            (PEER, "Unblock"): Verb(MANAGE_PEERS, self._unblock),
            (PEER, "Probe"): Verb(MANAGE_PEERS, self._probe),
        }
        #: Only these do something for who wants no answer.
        self.members: Final = frozenset(member for _, member in self._table) | {"Set"}

    def verb(self, interface: str, member: str) -> Verb | None:
        return self._table.get((interface, member))

    def call(self, connection: Connection, call: Incoming, method: Method, verb: Verb) -> None:
        """Authorize, carry out, answer. Raises CallError at once for wrong arguments."""
        header = call.header
        self._start(
            connection,
            call,
            method,
            check=partial(self.authority.check, connection, header, verb.action),
            work=verb.prepare(call),
        )

    def set_log(
        self, connection: Connection, call: Incoming, method: Method, name: str, value: object
    ) -> None:
        """Set a property of LogControl1, which is for root; as `call`."""
        if not isinstance(value, str):
            raise CallError(errors.INVALID_ARGS, f"{name} is a string.")

        async def work() -> tuple[Any, ...]:
            setattr(self._controller, _LOG[name], value)
            return ()

        check = partial(self.authority.check_root, connection, call.header)
        self._start(connection, call, method, check=check, work=work)

    async def close(self) -> None:
        """Stop all that is under way; nobody is answered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- carrying out

    def _start(
        self, connection: Connection, call: Incoming, method: Method, *, check: Check, work: Work
    ) -> None:
        caller = call.header.sender
        if self._by_caller[caller] >= MAX_PENDING or len(self._tasks) >= MAX_PENDING_IN_ALL:
            text = "Too many calls that change something are under way."
            raise CallError(errors.LIMITS_EXCEEDED, text)
        self._by_caller[caller] += 1
        task = asyncio.get_running_loop().create_task(
            _carry_out(connection, call, method, check, work)
        )
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, caller))

    def _done(self, caller: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._by_caller[caller] -= 1
        if not self._by_caller[caller]:
            del self._by_caller[caller]

    # -- what the methods do

    def _add_peer(self, call: Incoming) -> Work:
        (values,) = arguments(call)
        said = options.read(values, options.PEER)
        if "public-key" not in said:
            raise CallError(errors.INVALID_ARGUMENT, "PublicKey: is missing.")

        async def work() -> tuple[Any, ...]:
            try:
                return (peer_path(await self._controller.add_peer(said)),)
            except CallError as error:
                raise options.renamed(error, options.PEER) from None

        return work

    def _remove_peer(self, call: Incoming) -> Work:
        (path,) = arguments(call)
        try:
            node_id = NodeId(peer_of(path))
        except ValueError:
            node_id = None
        if node_id is None or path not in self._tree.objects:
            raise CallError(errors.NO_SUCH_PEER, "There is no such peer.")
        return _plain(self._controller.remove_peer, node_id)

    def _unblock(self, call: Incoming) -> Work:
        async def work() -> tuple[Any, ...]:
            blocked = await self._controller.unblock(_peer(call))
            if not blocked and call.header.path not in self._tree.objects:
                raise CallError(errors.NO_SUCH_PEER, "This node is neither there nor blocked.")
            return ()

        return work

    def _rotate_key(self, call: Incoming) -> Work:
        async def work() -> tuple[Any, ...]:
            return (await self._controller.rotate_key(),)

        return work

    def _probe(self, call: Incoming) -> Work:
        async def work() -> tuple[Any, ...]:
            return (await self._controller.probe(_peer(call)),)

        return work


async def _carry_out(
    connection: Connection, call: Incoming, method: Method, check: Check, work: Work
) -> None:
    try:
        try:
            await check()
        except (CallerGone, BusUnavailable):
            return
        connection.answer(call.header, method.result, marshal(method.result, await work()))
    except Exception as error:
        answer_failure(connection, call.header, error)


def _plain(do: Callable[..., Awaitable[None]], *values: object) -> Work:
    """The work of a method that returns nothing."""

    async def work() -> tuple[Any, ...]:
        await do(*values)
        return ()

    return work


def _network(
    do: Callable[[Mapping[str, Any]], Awaitable[None]], call: Incoming, known: options.Options
) -> Work:
    """The work of a method that takes a prefix and options."""
    prefix, values = arguments(call)
    said = {"network": prefix, **options.read(values, known)}

    async def work() -> tuple[Any, ...]:
        try:
            await do(said)
        except CallError as error:
            raise options.renamed(error, known) from None
        return ()

    return work


def _peer(call: Incoming) -> NodeId:
    """The peer that is called: on no other path these methods are found."""
    return NodeId(peer_of(call.header.path))
