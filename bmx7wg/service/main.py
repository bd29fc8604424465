"""bmx7-wgd: where the parts meet. Nothing is decided here."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .. import __version__, configfiles
from ..core.announcement import is_label
from ..core.config import Config, ConfigError
from ..core.model import Origin
from ..discovery.source import Source
from . import journal
from .configuration import Configuration
from .node import Node, Parts
from .store import Store, StoreError
from .verbs import Verbs

EX_CONFIG: Final = 78  # sysexits.h

log = logging.getLogger("bmx7wg.service")


def main(arguments: list[str] | None = None) -> int:
    """The daemon; returns its exit status (bmx7-wgd(8))."""
    options = _options(arguments)
    journal.set_up()
    try:
        store = Store(options.state_dir)
        return asyncio.run(_serve(Configuration(options.config_dir, store), store))
    except ConfigError as error:
        for problem in error.problems:
            log.error("%s", problem, extra=journal.fields(journal.CONFIGURATION_REFUSED))
        return EX_CONFIG
    except StoreError as error:
        log.error("%s", error)
        return 1


async def _serve(configuration: Configuration, store: Store) -> int:
    from ..bus.service import Bus
    from ..device.choose import open_device
    from .notify import Notifier

    config = configuration.settings.config
    node = Node(configuration.settings, name=_host_name())
    origin = _origin(config)
    source = _source(origin, config, store, node)
    node.connect(
        Parts(
            source=source,
            origin=origin,
            open_device=lambda: open_device(config.device.backend, config.device.name),
            bus=Bus(Verbs(node, configuration, source, origin), state=node.bus_state),
            notifier=Notifier(),
            reload=configuration.reload,
        )
    )
    _on_signals({signal.SIGTERM: node.stop, signal.SIGINT: node.stop, signal.SIGHUP: node.reload})
    return await node.run()


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
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
