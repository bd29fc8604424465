from __future__ import annotations

import json
from ipaddress import IPv6Address

import pytest

from bmx7wg.core.identity import NodeId, key_text, mesh_address, parse_key
from bmx7wg.core.keys import SigningKey, generate_private_key, preshared_key, public_key, verify
from tests.conftest import VECTORS

VECTOR = json.loads((VECTORS / "identity.json").read_text())


@pytest.mark.parametrize("node_id, address", VECTOR["addresses"].items())
def test_mesh_address(node_id: str, address: str) -> None:
    assert mesh_address(NodeId.parse(node_id)) == IPv6Address(address)


def test_the_address_in_the_documentation() -> None:
    node_id = NodeId.parse("54BF9F2348D362BE9CE6D64D35B078F2E3B8DF28DB7B50C6986F6BF0")
    assert str(mesh_address(node_id)) == "fd77:54bf:9f23:48d3:62be:9ce6:d64d:35b0"


@pytest.mark.parametrize("pair", VECTOR["preshared_keys"])
def test_preshared_key(pair: dict[str, str]) -> None:
    one, other = NodeId.parse(pair["one"]), NodeId.parse(pair["other"])
    secret = bytes.fromhex(pair["secret"])
    assert preshared_key(one, other, secret).hex() == pair["key"]
    assert preshared_key(other, one, secret).hex() == pair["key"]


def test_preshared_keys_differ_between_pairs_and_secrets() -> None:
    ids = [NodeId(bytes([n]) * 28) for n in range(4)]
    keys = {
        preshared_key(a, b, s) for a in ids for b in ids if a < b for s in (b"", b"one", b"two")
    }
    assert len(keys) == 6 * 3


@pytest.mark.parametrize("text", ["", "54BF", "g" * 56, "5" * 57, " " + "5" * 55, "٥" * 56])
def test_node_id_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="56 hexadecimal digits"):
        NodeId.parse(text)


def test_node_id_is_printed_in_upper_case_and_has_28_bytes() -> None:
    assert str(NodeId.parse("ab" * 28)) == "AB" * 28
    with pytest.raises(ValueError, match="28 bytes, not 27"):
        NodeId(b"x" * 27)


def test_x25519_against_rfc_7748() -> None:
    # Section 5.2, "after one iteration": the scalar 9 and the base point 9.
    expected = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert public_key(b"\x09" + bytes(31)).hex() == expected


def test_ed25519_against_rfc_8032() -> None:
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = SigningKey(seed)
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = key.sign(b"\x72")
    assert signature.hex().startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8f")
    assert verify(key.public, signature, b"\x72")
    assert not verify(key.public, signature, b"\x73")
    assert not verify(key.public, b"\0" * 64, b"\x72")
    assert not verify(b"\xff" * 32, signature, b"\x72")
    assert not verify(key.public, signature[:-1], b"\x72")


def test_the_node_id_without_bmx7_is_sha224_of_the_public_key() -> None:
    key = SigningKey(b"\x01" * 32)
    assert key.node_id == NodeId.of_public_key(key.public)
    assert len(set(SigningKey.generate_seed() for _ in range(3))) == 3


def test_keys_in_wireguards_notation() -> None:
    key = generate_private_key()
    assert parse_key(key_text(key)) == key
    for wrong in ("", key_text(key)[:-1], key_text(key) + "=", key_text(key) + "\n", "ü" * 44):
        with pytest.raises(ValueError, match="44 characters of base64"):
            parse_key(wrong)
