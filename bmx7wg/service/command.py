"""The command line of bmx7-wgd. What it does is imported when it is known."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .. import __version__, configfiles


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon, or remove what one has left; returns the exit status (bmx7-wgd(8))."""
    options = _options(arguments)
    if options.remove:
        from .removal import remove

        return remove(options)
    from .main import serve

    return serve(options)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bmx7-wgd", description="Connects the nodes of a mesh through WireGuard."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=configfiles.DEFAULT_DIRECTORY,
        metavar="DIR",
        help="configuration (%(default)s)",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path(os.environ.get("STATE_DIRECTORY", configfiles.STATE_DIRECTORY)),
        metavar="DIR",
        help="keys and state (%(default)s)",
    )
    parser.add_argument(
        "--unit",
        default="",
        metavar="UNIT",
        help="run as this unit of systemd: keep the device while it is restarted, have systemd "
        "run wireguard-go",
    )
    parser.add_argument(
        "--remove",
        action="store_true",
        help="remove what a service that was killed has left, and end",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
