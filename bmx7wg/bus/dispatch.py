"""From a call to its answer: the object by its path, the method by the contract, the handler.

Nothing of a call's body is decoded before the contract has said that the object, the
interface, the method and its signature exist. Whatever happens, the caller gets an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from typing import Any, Final

from ..core.identity import NodeId, parse_key
from . import errors
from .connection import Connection
from .contract import Interface, Method, node
from .controller import Controller
from .errors import CallError
from .library import Incoming
from .methods import Methods
from .names import (
    DEVICE_PATH,
    INTROSPECTABLE,
    MANAGER,
    NETWORK_PREFIX,
    OBJECT_MANAGER,
    PEER,
    PEER_PREFIX,
    PEER_STANDARD,
    PROPERTIES,
    ROOT,
    peer_path,
)
from .replies import answer_failure, arguments
from .tree import Object, Tree
from .turns import Pause, Turns
from .values import marshal
from .verbs import Verbs

#: Values for a method's result signature, or the marshalled body.
Result = tuple[Any, ...] | bytes
Reader = Callable[[Incoming], Result]
SlowReader = Generator[Pause, None, Result]

_SLICE: Final = 50  # objects that are read before others have their turn; 2 ms
_PASSES: Final = 3

_MACHINE_ID: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")


class Dispatcher:
    """Answers calls out of the tree, and gives those that change something to the verbs."""

    def __init__(
        self,
        interfaces: Mapping[str, Interface],
        tree: Tree,
        turns: Turns,
        verbs: Verbs,
        controller: Controller,
    ) -> None:
        self._tree = tree
        self._turns = turns
        self._verbs = verbs
        self._controller = controller
        self._methods = Methods(interfaces, tree)
        self._readers: Final[Mapping[tuple[str, str], Reader]] = {
            (PEER_STANDARD, "Ping"): lambda call: (),
            (PEER_STANDARD, "GetMachineId"): lambda call: (_machine_id(),),
            (PROPERTIES, "Get"): self._get,
            (PROPERTIES, "GetAll"): self._get_all,
            (MANAGER, "GetPeerByNodeId"): self._peer_by_node_id,
            (MANAGER, "GetPeerByPublicKey"): self._peer_by_public_key,
            (PEER, "Describe"): lambda call: (_json(_described(self._object(call.header.path))),),
        }
        self._slow_readers: Final[Mapping[tuple[str, str], Callable[[Incoming], SlowReader]]] = {
            (INTROSPECTABLE, "Introspect"): self._introspect,
            (OBJECT_MANAGER, "GetManagedObjects"): self._managed_objects,
            (MANAGER, "Describe"): self._describe,
        }

    def __call__(self, connection: Connection, call: Incoming) -> None:
        """Answer *call* when it is its caller's turn."""
        header = call.header
        if header.wants_no_reply and header.member not in self._verbs.members:
            return  # there is nothing to do but answer
        try:
            self._turns.put(header, self._answer(connection, call), last=call.last)
        except CallError as error:
            connection.answer_error(header, error.name, error.text)

    def _answer(self, connection: Connection, call: Incoming) -> Iterator[Pause]:
        header = call.header
        try:
            key, method = self._methods.find(header)
            verb = self._verbs.verb(*key)
            if verb is not None:
                self._verbs.call(connection, call, method, verb)
            elif key == (PROPERTIES, "Set"):
                self._set(connection, call, method)
            else:
                if not self._turns.fresh and self._reads_counters(call, *key):
                    yield Pause.FRESH
                read = self._readers.get(key)
                if read is not None:
                    result = read(call)
                else:
                    yield Pause.LONG
                    result = yield from self._slow_readers[key](call)
                body = result if isinstance(result, bytes) else marshal(method.result, result)
                connection.answer(header, method.result, body)
        except Exception as error:
            answer_failure(connection, header, error)

    # -- reading

    def _managed_objects(self, call: Incoming) -> SlowReader:
        """Make the entries bit by bit, and join them in the turn in which they are sent.

        So the answer has its place among the signals: what changes after it is told after it.
        """
        for _ in range(_PASSES):  # what changed meanwhile is to be made anew
            made = 0
            for made, _ in enumerate(self._tree.prepare(), 1):
                if made % _SLICE == 0:
                    yield Pause.TURN
            if made < _SLICE:
                break
        return self._tree.managed_body()

    def _reads_counters(self, call: Incoming, interface: str, method: str) -> bool:
        """Whether the answer has properties in it that no signal keeps up to date."""
        if interface == PROPERTIES and method != "Set":
            item, names = self._asked(call)
            return not item.encoder.counters.keys().isdisjoint(names)
        return method in ("GetManagedObjects", "Describe")

    def _asked(self, call: Incoming) -> tuple[Object, Collection[str]]:
        """The object and the properties that a call of Properties is about."""
        interface, *rest = arguments(call)[:2]
        item = self._object(call.header.path)
        path = call.header.path
        properties: Collection[str] = ()  # the interfaces that are not ours have none
        if interface in (item.interface.name, ""):
            properties = item.interface.properties
        elif all(interface != known.name for known in self._methods.interfaces(path)):
            raise CallError(errors.UNKNOWN_INTERFACE, f"{path} has no interface {interface}.")
        if not rest:
            return item, properties
        if rest[0] not in properties:
            text = f"{path} has no property {rest[0]} of this interface."
            raise CallError(errors.UNKNOWN_PROPERTY, text)
        return item, rest

    def _get(self, call: Incoming) -> tuple[Any, ...]:
        item, names = self._asked(call)
        return tuple(item.variants(names).values())

    def _get_all(self, call: Incoming) -> Result:
        path = call.header.path
        item, names = self._asked(call)
        if not names:
            return ({},)
        return item.encoder.properties(path, self._tree.entry(path, item))

    def _set(self, connection: Connection, call: Incoming, method: Method) -> None:
        item, (name,) = self._asked(call)
        if not item.interface.properties[name].writable:
            raise CallError(errors.PROPERTY_READ_ONLY, f"{name} can't be set.")
        self._verbs.set_log(connection, call, method, name, arguments(call)[2])

    def _introspect(self, call: Incoming) -> SlowReader:
        yield from ()  # it is long to send only
        path = call.header.path
        return (node(self._methods.interfaces(path), self._tree.children(path)),)

    # -- the Manager

    def _peer_by_node_id(self, call: Incoming) -> tuple[Any, ...]:
        (text,) = arguments(call)
        try:
            path = peer_path(NodeId.parse(text))
        except ValueError as error:
            raise CallError(errors.INVALID_ARGUMENT, f"{error}.") from None
        if path not in self._tree.objects:
            raise CallError(errors.NO_SUCH_PEER, "There is no peer with this node id.")
        return (path,)

    def _peer_by_public_key(self, call: Incoming) -> tuple[Any, ...]:
        (text,) = arguments(call)
        try:
            parse_key(text)
        except ValueError as error:
            raise CallError(errors.INVALID_ARGUMENT, f"{error}.") from None
        # Two nodes may announce one key; the one in conflict is not it.
        found = [
            path
            for path, item in self._below(PEER_PREFIX)
            if getattr(item.view, "public_key", "") == text
        ]
        if not found:
            raise CallError(errors.NO_SUCH_PEER, "There is no peer with this public key.")
        return (min(found, key=self._in_conflict),)

    def _in_conflict(self, path: str) -> bool:
        return bool(self._tree.objects[path].values(["State"])["State"] == "conflict")

    def _below(self, prefix: str) -> list[tuple[str, Object]]:
        return [
            (path, item) for path, item in self._tree.objects.items() if path.startswith(prefix)
        ]

    def _describe(self, call: Incoming) -> SlowReader:
        device = self._tree.objects.get(DEVICE_PATH)
        manager = _described(self._tree.objects[ROOT])
        manager["refused"] = dict(self._controller.counters())
        lists = []
        for prefix in (PEER_PREFIX, NETWORK_PREFIX):
            entries = []
            for number, (_, item) in enumerate(self._below(prefix), 1):
                entries.append(_json(_described(item)))
                if number % _SLICE == 0:
                    yield Pause.TURN
            lists.append(",".join(entries))
        parts = (_json(manager), _json(device and _described(device)), *lists)
        return ('{"manager":%s,"device":%s,"peers":[%s],"networks":[%s]}' % parts,)

    def _object(self, path: str) -> Object:
        item = self._tree.objects.get(path)
        if item is None:  # it went while its counters were read
            raise CallError(errors.UNKNOWN_OBJECT, f"There is no object {path}.")
        return item


def _described(item: Object) -> dict[str, Any]:
    return item.values(item.interface.properties)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _machine_id() -> str:
    for file in _MACHINE_ID:
        try:
            with open(file, encoding="ascii") as text:
                return text.read(64).strip()
        except (OSError, UnicodeDecodeError):
            continue
    raise CallError(errors.FILE_NOT_FOUND, "This machine has no id.")
