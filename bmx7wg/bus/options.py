"""The options of methods (a{sv}), which are keys of the configuration in other spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import errors
from .errors import CallError

#: By the name of an option: the key that it is, its type, and what Python makes of that.
Options = Mapping[str, tuple[str, str, type]]

#: Of AddPeer; keys of a [[peer]].
PEER: Final[Options] = {
    "Name": ("name", "s", str),
    "PublicKey": ("public-key", "s", str),
    "NodeId": ("node-id", "s", str),
    "Endpoint": ("endpoint", "s", str),
    "AllowedIPs": ("allowed-ips", "as", list),
    "PresharedKey": ("preshared-key", "s", str),
    "Keepalive": ("keepalive", "q", int),
}

#: Of OfferNetwork; keys of an [[offer]], but for its network.
OFFER: Final[Options] = {
    "Bandwidth": ("bandwidth", "t", int),
    "WhileRoute": ("while-route", "b", bool),
    "FromTable": ("from-table", "u", int),
    "MinPrefixLength": ("min-prefix-length", "y", int),
    "MaxPrefixLength": ("max-prefix-length", "y", int),
    "Aggregate": ("aggregate", "b", bool),
}

#: Of SearchNetwork; keys of a [[search]], but for its network.
SEARCH: Final[Options] = {
    "Name": ("name", "s", str),
    "MinPrefixLength": ("min-prefix-length", "y", int),
    "MaxPrefixLength": ("max-prefix-length", "y", int),
    "GatewayName": ("gateway-name", "s", str),
    "GatewayId": ("gateway-id", "s", str),
    "MinBandwidth": ("min-bandwidth", "t", int),
    "Rating": ("rating", "u", int),
    "Hysteresis": ("hysteresis", "u", int),
    "Metric": ("metric", "u", int),
    "Table": ("table", "u", int),
    "Rule": ("rule", "u", int),
    "AllowOverlap": ("allow-overlap", "b", bool),
    "BreakOverlap": ("break-overlap", "b", bool),
}


def read(said: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """What callers said, by the keys of the configuration. Raises CallError."""
    values = {}
    for option, value in said.items():
        if option not in options:
            raise CallError(errors.INVALID_ARGUMENT, f"{option}: there is no such option.")
        key, signature, kind = options[option]
        if type(value) is not kind:
            text = f"{option}: has another type than '{signature}'."
            raise CallError(errors.INVALID_ARGUMENT, text)
        values[key] = value
    return values


def renamed(error: CallError, options: Options) -> CallError:
    """An error about a key, said of the option that it came from."""
    key, colon, rest = error.text.partition(":")
    names = {key: option for option, (key, _, _) in options.items()}
    return CallError(error.name, names.get(key, key) + colon + rest)
