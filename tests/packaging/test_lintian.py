"""The packages as each release's lintian sees those that were built there (test_builds.py)."""

from __future__ import annotations

import shutil

import pytest

from ..system import roots
from ..system.guests import SUITES
from .clean import BUILT

# What the lintian of an older release says wrongly: it does not know the newest policy, nor that
# packages need no init scripts any more, and without a RECORD beside it takes a wheel's
# top_level.txt for documentation.
OUTDATED = {
    "bookworm": (
        "newer-standards-version",
        "package-contains-documentation-outside-usr-share-doc",
        "package-supports-alternative-init-but-no-init.d-script",
    ),
    "trixie": (),
}
LINTIAN = "lintian --allow-root -EI --pedantic"


@pytest.mark.parametrize("suite", SUITES)
def test_lintian_has_nothing_to_say(suite: str) -> None:
    suppressed = "".join(f" --suppress-tags={tag}" for tag in OUTDATED[suite])
    with roots.scratch(f"lintian-{suite}") as root:
        roots.copy(roots.Root(suite, ("lintian",)).path(), root)
        shutil.copytree(BUILT / suite, root / "srv/packages")
        roots.run(
            root,
            f"{LINTIAN}{suppressed} /srv/packages/*.changes >/srv/said 2>&1; echo $? >>/srv/said",
        )
        assert (root / "srv/said").read_text() == "0\n"
