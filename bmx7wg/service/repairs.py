"""When what somebody else did to the device is put right: at once, but not without end."""

from __future__ import annotations

from typing import Final

from ..core.bucket import Bucket

BURST: Final = 10  # repairs at once: a restart of a network manager does several things
RATE: Final = 0.2  # repairs a second in the long run, while somebody puts it wrong again
CALM: Final = 30.0  # s without a change until such a contest is over
SHOWN: Final = 3  # changes at a time, in a sentence for people


class Repairs:
    """What was noticed and is not put right yet; `now` is monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._bucket = Bucket(RATE, BURST, now)
        self._sentences: list[str] = []
        self._contested_by = ""  # the last change of a contest
        self._last = float("-inf")

    @property
    def pending(self) -> bool:
        return bool(self._sentences)

    @property
    def problem(self) -> str:
        """What is wrong, as a sentence for people, the same throughout a contest."""
        if self._contested_by:
            return (
                f"somebody else changes it again and again ({self._contested_by}); "
                f"it is put right every {1 / RATE:.0f} s"
            )
        more = ["and more"] if len(self._sentences) > SHOWN else []
        return "; ".join(self._sentences[:SHOWN] + more)

    def noticed(self, sentence: str, now: float) -> None:
        """Somebody else changed something."""
        self._last = now
        if sentence not in self._sentences and len(self._sentences) <= SHOWN:
            self._sentences.append(sentence)
        if not self._bucket.holds(now) and not self._contested_by:
            self._contested_by = sentence

    def due(self, now: float) -> bool:
        """Whether it is to be put right now."""
        return self.pending and self._bucket.holds(now)

    def begun(self, now: float) -> None:
        """All that was noticed until now is being put right."""
        if self._sentences:
            self._bucket.take(now)
            self._sentences.clear()

    def advance(self, now: float) -> None:
        """Let a contest end."""
        if now >= self._last + CALM:
            self._contested_by = ""

    def next_timeout(self) -> float | None:
        """When `due` or `advance` say something else than now."""
        if self._sentences:
            return self._bucket.ready_at()
        return self._last + CALM if self._contested_by else None
