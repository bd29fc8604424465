"""bmx7-wgd --remove: what a service has left that did not get to say goodbye."""

from __future__ import annotations

import asyncio
import logging
from argparse import Namespace
from pathlib import Path
from typing import Final

from .. import configfiles
from ..core.config import Bmx7Config, ConfigError, parse
from ..device import removal, units
from ..device.base import DeviceError

_LIMIT: Final = 2.0  # s for bmx7 to take the withdrawal

log = logging.getLogger("bmx7wg.service")


def remove(options: Namespace) -> int:
    """Remove it, unless the unit is to run again at once; returns the exit status."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if options.unit and units.will_run(options.unit):
        return 0
    try:
        for name in removal.remove_all(units=bool(options.unit)):
            log.info("%s removed", name)
    except DeviceError as error:
        log.error("not removed: %s", error)
        return 1
    runtime_dir = _bmx7(options.config_dir).runtime_dir
    if Path(runtime_dir).is_dir():
        from ..discovery.bmx7_publish import withdraw_left

        asyncio.run(withdraw_left(runtime_dir, limit=_LIMIT))
    return 0


def _bmx7(directory: Path) -> Bmx7Config:
    """How to reach bmx7; with a broken configuration, where it usually is."""
    try:
        return parse(configfiles.read(directory)).config.discovery.bmx7
    except ConfigError:
        return Bmx7Config()
