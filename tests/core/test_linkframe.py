from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmx7wg.core.identity import NodeId
from bmx7wg.core.keys import SigningKey
from bmx7wg.core.limits import MAX_PAYLOAD
from bmx7wg.core.linkframe import MAX_FRAME, MIN_FRAME, Flags, FrameError, decode, encode
from tests.conftest import VECTORS

KEY = SigningKey(bytes(range(32)))
FRAME = encode(Flags.SOLICIT, 7, b"{}", KEY)
VECTOR = json.loads((VECTORS / "linkframes.json").read_text())


def reason_of(data: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        decode(data)
    return caught.value.reason


@given(
    flags=st.sampled_from([Flags.NONE, Flags.SOLICIT, Flags.GOODBYE]),
    sequence=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=MAX_PAYLOAD),
)
def test_what_is_encoded_is_decoded(flags: Flags, sequence: int, payload: bytes) -> None:
    frame = decode(encode(flags, sequence, payload, KEY))
    assert (frame.flags, frame.sequence, frame.payload) == (flags, sequence, payload)
    assert frame.public_key == KEY.public
    assert frame.node_id == KEY.node_id
    assert frame.authentic


@given(st.binary(max_size=MAX_FRAME + 10))
def test_any_bytes_are_refused_or_not_authentic(data: bytes) -> None:
    try:
        assert not decode(data).authentic
    except FrameError as error:
        assert error.reason in {"magic", "version", "short", "long"}


@given(position=st.integers(0, len(FRAME) - 1), bit=st.integers(0, 7))
def test_no_bit_can_be_changed(position: int, bit: int) -> None:
    changed = bytearray(FRAME)
    changed[position] ^= 1 << bit
    try:
        assert not decode(bytes(changed)).authentic
    except FrameError as error:
        assert error.reason in {"magic", "version"}


def test_sizes() -> None:
    assert len(encode(Flags.NONE, 0, b"", KEY)) == MIN_FRAME == 110
    assert len(encode(Flags.NONE, 0, bytes(MAX_PAYLOAD), KEY)) == MAX_FRAME
    with pytest.raises(ValueError, match="at most 4096 bytes, not 4097"):
        encode(Flags.NONE, 0, bytes(MAX_PAYLOAD + 1), KEY)


def test_reasons() -> None:
    assert reason_of(b"") == "magic"
    assert reason_of(b"b7w") == "magic"
    assert reason_of(b"b7wg") == "version"
    assert reason_of(b"b7wg\x02" + FRAME[5:]) == "version"
    assert reason_of(b"B7wg" + FRAME[4:]) == "magic"
    assert reason_of(FRAME[: MIN_FRAME - 1]) == "short"
    assert reason_of(FRAME + bytes(MAX_FRAME)) == "long"
    assert reason_of(FRAME[:5] + bytes(65_502)) == "long"


def test_unknown_flags_are_left_for_the_future() -> None:
    raised = bytearray(FRAME)
    raised[5] |= 0xFC
    assert decode(bytes(raised)).flags == Flags.SOLICIT


@pytest.mark.parametrize("name", VECTOR["good"])
def test_good(name: str) -> None:
    vector = VECTOR["good"][name]
    frame = decode(bytes.fromhex(vector["frame"]))
    assert frame.authentic
    assert int(frame.flags) == vector["flags"]
    assert frame.sequence == vector["sequence"]
    assert frame.payload == vector["payload"].encode()
    assert frame.node_id == NodeId.parse(vector["node_id"])
    key = SigningKey(bytes.fromhex(vector["seed"]))
    assert encode(frame.flags, frame.sequence, frame.payload, key) == frame.raw


@pytest.mark.parametrize("name", VECTOR["bad"])
def test_bad(name: str) -> None:
    vector = VECTOR["bad"][name]
    data = bytes.fromhex(vector["frame"])
    if vector["reason"] == "signature":
        assert not decode(data).authentic
    else:
        assert reason_of(data) == vector["reason"]
