"""The states of a peer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: In the order in which they are listed, with their style. What needs somebody's attention comes
#: last, where a long list ends on a terminal.
STATES: Final[Mapping[str, str]] = {
    "connected": "good",
    "idle": "",
    "configured": "warn",
    "discovered": "warn",
    "lost": "bad",
    "untrusted": "dim",
    "blocked": "dim",
    "incompatible": "bad",
    "conflict": "bad",
}
