from __future__ import annotations

import json
from ipaddress import IPv4Network, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bmx7wg.core.announcement import AnnouncementError, decode, encode
from bmx7wg.core.identity import key_text
from bmx7wg.core.limits import MAX_BANDWIDTH, MAX_NETWORKS, MAX_PAYLOAD, MIN_BANDWIDTH
from bmx7wg.core.model import Announcement, Endpoint, Incompatible, Offer
from tests.conftest import VECTORS

VECTOR = json.loads((VECTORS / "announcements.json").read_text())
KEY = "fzi3kcLCzKWx8lsNI72dv6GWb8Xg+XbtvhmLx8F8/fI="


def reason_of(payload: bytes) -> str:
    with pytest.raises(AnnouncementError) as caught:
        decode(payload)
    return caught.value.reason


@pytest.mark.parametrize("name", VECTOR["good"])
def test_good(name: str) -> None:
    decoded = decode(VECTOR["good"][name].encode())
    assert isinstance(decoded, Announcement)
    assert key_text(decoded.public_key) == KEY
    assert decode(encode(decoded)) == decoded


def test_every_member_is_read() -> None:
    assert decode(VECTOR["good"]["whole"].encode()) == Announcement(
        public_key=bytes.fromhex(
            "7f38b791c2c2cca5b1f25b0d23bd9dbfa1966fc5e0f976edbe198bc7c17cfdf2"
        ),
        port=6277,
        name="n3",
        networks=(
            Offer(IPv4Network("10.3.0.0/24"), 32_000_000),
            Offer(ip_network("::/0"), MIN_BANDWIDTH),
        ),
        endpoints=(
            Endpoint(IPv6Address("2001:db8::3"), 6277),
            Endpoint(ip_network("192.0.2.7").network_address, 1),
        ),
    )


@pytest.mark.parametrize("name", VECTOR["incompatible"])
def test_another_version(name: str) -> None:
    decoded = decode(VECTOR["incompatible"][name].encode())
    assert isinstance(decoded, Incompatible)
    assert len(decoded.reason) < 80 and "this node speaks version 1" in decoded.reason


@pytest.mark.parametrize(
    "reason, text",
    [
        (reason, text)
        for reason in ("json", "type", "duplicate", "nesting", "version", "key")
        for text in VECTOR["bad"][reason]
    ],
)
def test_bad_text(reason: str, text: str) -> None:
    assert reason_of(text.encode()) == reason


@pytest.mark.parametrize(
    "member, value",
    [
        (m, value)
        for m in ("port", "name", "networks", "endpoints", "next")
        for value in VECTOR["bad"][m]
    ],
)
def test_bad_member(member: str, value: Any) -> None:
    assert reason_of(json.dumps({"v": 1, "key": KEY, member: value}).encode()) == member


def test_bad_bytes() -> None:
    assert reason_of(b"\xff\xfe") == "utf8"
    assert reason_of(b" " * (MAX_PAYLOAD + 1)) == "size"
    assert reason_of(b"[" * MAX_PAYLOAD) == "nesting"
    assert reason_of(b'{"v":' + b"9" * 4000 + b"x}") == "json"


def test_counts_have_a_bound() -> None:
    networks = [[f"10.{n}.0.0/16", 1000] for n in range(MAX_NETWORKS + 1)]
    assert reason_of(json.dumps({"v": 1, "key": KEY, "networks": networks}).encode()) == "networks"
    good = decode(json.dumps({"v": 1, "key": KEY, "networks": networks[:-1]}).encode())
    assert isinstance(good, Announcement) and len(good.networks) == MAX_NETWORKS


def test_what_does_not_fit_is_not_sent() -> None:
    networks = tuple(
        Offer(ip_network(f"2001:db8:aaaa:bbbb:cccc:dddd:eeee:{n:x}/128"), MAX_BANDWIDTH)
        for n in range(MAX_NETWORKS)
    )
    endpoints = (Endpoint(IPv6Address("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"), 65535),) * 8
    with pytest.raises(ValueError, match="at most 4096 fit"):
        encode(Announcement(b"k" * 32, networks=networks, endpoints=endpoints))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
members = st.fixed_dictionaries(
    {},
    optional={
        "v": st.just(1) | json_values,
        "key": st.just(KEY) | json_values,
        **{m: json_values for m in ("port", "name", "networks", "endpoints", "next")},
    },
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(members)
def test_whatever_is_said_is_taken_or_refused(said: dict[str, Any]) -> None:
    try:
        decoded = decode(json.dumps(said).encode())
    except AnnouncementError as error:
        assert error.reason.isalnum()
    else:
        assert isinstance(decoded, Incompatible) or decode(encode(decoded)) == decoded


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_whatever_arrives_is_taken_or_refused(payload: bytes) -> None:
    try:
        decode(payload)
    except AnnouncementError as error:
        assert error.reason.isalnum()
