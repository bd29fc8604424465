"""Asks bmx7 who is where: its command first, which is of the moment, else its json files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from ..core.config import Bmx7Config
from ..core.identity import NodeId
from .bmx7_command import CommandError, Refused, run
from .bmx7_files import Paths, read_json
from .bmx7_show import (
    SHOW,
    NodeRow,
    Overview,
    identity_of_json,
    interfaces_of_json,
    node_of_json,
    overview_of_tables,
)

_SLICE = 256  # files between two looks at the rest of the loop


async def look(
    config: Bmx7Config, paths: Paths, nodes: Iterable[NodeId], *, limit: float
) -> tuple[Overview, CommandError | None]:
    """What bmx7 knows of itself and at least of *nodes*, and why the command failed if it did.

    Without a running daemon the json files are what it last knew.
    """
    try:
        overview = overview_of_tables(
            await run(config.command, config.runtime_dir, *SHOW, limit=limit)
        )
        if overview.own is None:
            raise Refused("bmx7 does not say which node it is.")
    except CommandError as error:
        return await _from_json(paths, nodes), error
    return overview, None


async def _from_json(paths: Paths, nodes: Iterable[NodeId]) -> Overview:
    rows: dict[NodeId, NodeRow] = {}
    for number, node_id in enumerate(tuple(nodes)):
        if number % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        row = node_of_json(read_json(os.path.join(paths.originators, str(node_id))))
        if row is not None and row.node_id == node_id:
            rows[node_id] = row
    return Overview(
        own=identity_of_json(read_json(paths.status)),
        nodes=rows,
        interfaces=interfaces_of_json(read_json(paths.interfaces)),
    )
