"""How long to wait for bmx7, and how often to ask it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Seconds. A stand-in for bmx7 may be quicker than a real one, for which these are."""

    grace: float = 2.0  # bmx7 writes a deleted file anew within milliseconds
    relearn: float = 90.0  # a killed neighbour is forgotten after 70 s, a mesh learnt in 40
    refresh: float = 60.0  # bmx7's json plugin has the same rhythm
    follow: float = 5.0  # the same while gateways are chosen by it; bmx7 chooses in this rhythm
    gather: float = 0.05  # new nodes come in bursts: one question for all of them
    pause: float = 0.5  # at least, between two questions
    answer: float = 3.0  # a real bmx7 answers in 10 ms
    settle: float = 2.0  # from bmx7's socket to its directories
    retry: float = 0.25  # the first repetition; each next one after twice the time
    retry_longest: float = 30.0
