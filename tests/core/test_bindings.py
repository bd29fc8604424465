from __future__ import annotations

from bmx7wg.core.bindings import Bindings
from bmx7wg.core.identity import NodeId

KEY = b"k" * 32
A, B, C = (NodeId(letter * 28) for letter in (b"a", b"b", b"c"))


def test_the_first_claim_holds_and_the_same_claim_again_changes_nothing() -> None:
    bindings = Bindings()
    assert bindings.claim(KEY, A, 0.0) == A
    assert bindings.claim(KEY, A, 5.0) == A
    assert bindings.next_timeout() is None
    assert bindings.release(KEY, A, 6.0) is None
    assert bindings.claim(KEY, B, 7.0) == B


def test_an_unproven_holder_has_30_s_from_the_dispute_then_the_next_one_tries() -> None:
    bindings = Bindings()
    bindings.claim(KEY, A, 0.0)
    assert bindings.claim(KEY, B, 100.0) == A
    assert bindings.claim(KEY, C, 110.0) == A
    assert bindings.next_timeout() == 130.0
    assert bindings.expire(129.9) == []
    assert bindings.expire(130.0) == [(A, B)]
    assert bindings.expire(160.0) == [(B, C)]
    assert bindings.expire(190.0) == [(C, A)]
    assert bindings.claim(KEY, B, 191.0) == A


def test_a_proven_holder_stays_until_it_lets_go() -> None:
    bindings = Bindings()
    bindings.claim(KEY, A, 0.0)
    bindings.prove(KEY)
    assert bindings.claim(KEY, B, 1.0) == A
    assert bindings.next_timeout() is None
    assert bindings.expire(1e6) == []
    assert bindings.release(KEY, A, 2e6) == B
    assert bindings.claim(KEY, A, 2e6) == B


def test_who_waits_can_leave() -> None:
    bindings = Bindings()
    bindings.claim(KEY, A, 0.0)
    bindings.claim(KEY, B, 1.0)
    assert bindings.release(KEY, B, 2.0) is None
    assert bindings.next_timeout() is None
    assert bindings.expire(100.0) == []
    assert bindings.release(b"other" * 7, A, 2.0) is None
