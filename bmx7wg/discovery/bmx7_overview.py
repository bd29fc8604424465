"""Asks bmx7 who is where: the daemon first, which is of the moment, else its json files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from ..core.identity import NodeId
from .bmx7_control import ControlError, Refused, ask
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
    paths: Paths, nodes: Iterable[NodeId], *, limit: float
) -> tuple[Overview, ControlError | None]:
    """What bmx7 knows of itself and at least of *nodes*, and why it did not answer if it did not.

    Without a running daemon the json files are what it last knew.
    """
    try:
        overview = overview_of_tables(await ask(paths.socket, *SHOW, limit=limit))
        if overview.own is None:
            raise Refused("bmx7 does not say which node it is.")
    except ControlError as error:
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
