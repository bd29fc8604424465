"""Errors on the bus: their D-Bus names, and the exceptions that carry them."""

from __future__ import annotations

from typing import Final

_OWN: Final = "org.bmx7.WireGuard1.Error."
NO_SUCH_PEER: Final = _OWN + "NoSuchPeer"
PEER_EXISTS: Final = _OWN + "PeerExists"
INVALID_ARGUMENT: Final = _OWN + "InvalidArgument"
NOT_READY: Final = _OWN + "NotReady"
SOURCE_UNAVAILABLE: Final = _OWN + "SourceUnavailable"
DEVICE_FAILED: Final = _OWN + "DeviceFailed"
LIMIT_REACHED: Final = _OWN + "LimitReached"

# Those of the D-Bus specification and of the bus itself
_STANDARD: Final = "org.freedesktop.DBus.Error."
ACCESS_DENIED: Final = _STANDARD + "AccessDenied"
FAILED: Final = _STANDARD + "Failed"
FILE_NOT_FOUND: Final = _STANDARD + "FileNotFound"
INTERACTION_REQUIRED: Final = _STANDARD + "InteractiveAuthorizationRequired"
INVALID_ARGS: Final = _STANDARD + "InvalidArgs"
LIMITS_EXCEEDED: Final = _STANDARD + "LimitsExceeded"
NAME_HAS_NO_OWNER: Final = _STANDARD + "NameHasNoOwner"
NO_REPLY: Final = _STANDARD + "NoReply"
PROPERTY_READ_ONLY: Final = _STANDARD + "PropertyReadOnly"
SERVICE_UNKNOWN: Final = _STANDARD + "ServiceUnknown"
UNKNOWN_INTERFACE: Final = _STANDARD + "UnknownInterface"
UNKNOWN_METHOD: Final = _STANDARD + "UnknownMethod"
UNKNOWN_OBJECT: Final = _STANDARD + "UnknownObject"
UNKNOWN_PROPERTY: Final = _STANDARD + "UnknownProperty"


class CallError(Exception):
    """A call that failed, with its D-Bus error name and a sentence for people.

    Raised by a handler it goes out as the answer; raised by `Client.call` it came in as one.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name: Final = name
        self.text: Final = text


class BusError(Exception):
    """The bus can't be used as wanted; the text says what, why and what to do."""


class BusUnavailable(BusError):
    """There is no connection to the bus, or it ended."""


class ServiceNotRunning(BusError):
    """Nobody owns the service's name."""
