"""How often what others do to the device is put right."""

from __future__ import annotations

from bmx7wg.service.repairs import BURST, CALM, RATE, Repairs


def contested() -> Repairs:
    """Somebody was faster than all repairs that may be made at once."""
    repairs = Repairs(0.0)
    for _ in range(BURST):
        repairs.noticed("down", 0.0)
        assert repairs.problem == "down" and repairs.due(0.0)
        repairs.begun(0.0)
        assert repairs.problem == "" and not repairs.pending
    repairs.noticed("down", 0.0)
    return repairs


def test_nothing_noticed_nothing_due() -> None:
    repairs = Repairs(0.0)
    assert not repairs.due(1e9) and repairs.next_timeout() is None and repairs.problem == ""


def test_a_contest_is_slowed_down_and_told_in_one_way() -> None:
    repairs = contested()
    assert not repairs.due(0.0) and repairs.next_timeout() == 1 / RATE
    told = repairs.problem
    assert "again and again (down)" in told
    repairs.noticed("renamed", 1.0)
    assert repairs.problem == told
    assert repairs.due(1 / RATE)
    repairs.begun(1 / RATE)
    repairs.noticed("down", 1 / RATE + 0.1)
    assert repairs.problem == told and not repairs.due(1 / RATE + 0.1)


def test_a_contest_is_over_when_nothing_comes_any_more() -> None:
    repairs = contested()
    repairs.begun(1 / RATE)
    repairs.advance(CALM - 1)
    assert repairs.problem and repairs.next_timeout() == CALM
    repairs.advance(CALM)
    assert repairs.problem == "" and repairs.next_timeout() is None


def test_a_long_list_is_cut() -> None:
    repairs = Repairs(0.0)
    for number in range(1000):
        repairs.noticed(f"change {number}", 0.0)
    assert repairs.problem == "change 0; change 1; change 2; and more"
    assert repairs.due(0.0)
