"""The daemon: where the parts meet. Nothing is decided here."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..core.announcement import is_label
from ..core.config import Config, ConfigError
from ..core.model import Origin
from ..discovery.source import Source
from . import journal
from .clock import Clock
from .configuration import Configuration
from .node import Node, Parts
from .store import Store, StoreError
from .verbs import Verbs

EX_CONFIG: Final = 78  # sysexits.h

log = logging.getLogger("bmx7wg.service")


def serve(options: Namespace) -> int:
    """Run until a signal ends it; returns the exit status. The options are command.py's."""
    journal.set_up()
    try:
        store = Store(options.state_dir)
        return asyncio.run(_serve(Configuration(options.config_dir, store), store, options.unit))
    except ConfigError as error:
        for problem in error.problems:
            log.error("%s", problem, extra=journal.fields(journal.CONFIGURATION_REFUSED))
        return EX_CONFIG
    except StoreError as error:
        log.error("%s", error)
        return 1


async def _serve(configuration: Configuration, store: Store, unit: str) -> int:
    from ..bus.service import Bus
    from ..device.choose import open_device
    from ..device.surroundings import SurroundingsWatch
    from .notify import Notifier

    config = configuration.settings.config
    node = Node(configuration.settings, name=_host_name())
    origin = _origin(config)
    source = _source(origin, config, store, node)
    node.connect(
        Parts(
            source=source,
            origin=origin,
            surroundings=SurroundingsWatch(node.observe, device=config.device.name),
            open_device=lambda: open_device(
                config.device.backend, config.device.name, units=bool(unit)
            ),
            bus=Bus(Verbs(node, configuration, source, origin), state=node.bus_state),
            notifier=Notifier(),
            restarts=lambda: _restarts(unit),
            reload=configuration.reload,
            clock=Clock(),
        )
    )
    _on_signals({signal.SIGTERM: node.stop, signal.SIGINT: node.stop, signal.SIGHUP: node.reload})
    gc.freeze()  # modules stay for ever; to look through them again takes 10 ms of a turn
    return await node.run()


async def _restarts(unit: str) -> bool:
    if not unit:
        return False
    from ..device.units import will_run

    return await asyncio.to_thread(will_run, unit)


def _source(origin: Origin, config: Config, store: Store, node: Node) -> Source:
    if origin is Origin.BMX7:
        from ..discovery.bmx7 import Bmx7Source

        return Bmx7Source(config=config.discovery.bmx7, observe=node.observe)
    from ..discovery.link import LinkSource

    signing_key = store.signing_key()
    node.identify(signing_key.node_id)
    return LinkSource(
        config=config.discovery.link,
        signing_key=signing_key,
        sequence=store.sequence(),
        save_sequence=store.save_sequence,
        observe=node.observe,
        exclude=(config.device.name,),
    )


def _origin(config: Config) -> Origin:
    source = config.discovery.source
    if source == "auto":
        # An empty directory is what tmpfiles.d made for a bmx7 that was never started.
        directory = Path(config.discovery.bmx7.runtime_dir)
        try:
            source = "bmx7" if any(directory.iterdir()) else "link"
        except OSError:
            source = "link"
    return Origin(source)


def _host_name() -> str:
    name = socket.gethostname().partition(".")[0]
    return name if is_label(name) else ""


def _on_signals(handlers: dict[signal.Signals, Callable[[], None]]) -> None:
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
