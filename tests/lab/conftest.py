"""Meshes for the tests; what the services wrote is shown when a test fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from bmx7wg.lab.mesh import Mesh
from bmx7wg.lab.topology import Topology

#: Makes a mesh that is taken down after the test: topology, configuration of all nodes.
MakeMesh = Callable[..., Mesh]


@pytest.fixture
def make_mesh() -> Iterator[MakeMesh]:
    with ExitStack() as stack:

        def make(topology: Topology, config: str = "") -> Mesh:
            mesh = stack.enter_context(Mesh(topology, config=config))
            stack.callback(_print_logs, mesh)  # runs before the mesh is closed
            return mesh

        yield make


def _print_logs(mesh: Mesh) -> None:
    for node in mesh:
        print(f"--- {node.name}\n{node.log()}")
