"""A short run of each fuzzer; `tests/check fuzz` is the long one."""

from __future__ import annotations

from tests.fuzz import fuzz_link


def test_link() -> None:
    outcomes = fuzz_link.fuzz(20_000, seed=0)
    # It gets everywhere: each way out of the parsers was taken.
    frames = {"frame", "magic", "version", "short", "long"}
    members = {"key", "port", "name", "networks", "endpoints"}
    payloads = {"payload", "incompatible", "size", "utf8", "nesting", "json", "duplicate", "type"}
    assert frames | members | payloads | {"heard", "goodbye"} <= outcomes.keys()
