"""``bmx7-wg-lab``: meshes of many nodes on one machine, in namespaces (bmx7-wg-lab(1))."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from .. import __version__
from . import programs, state
from .mesh import Mesh
from .node import Node
from .topology import TOPOLOGIES
from .waiting import LabError

_EXAMPLES: Final = """\
examples:
  bmx7-wg-lab up --nodes 5
  bmx7-wg-lab exec n1 -- bmx7-wg status
  bmx7-wg-lab exec n1 -- bash
  bmx7-wg-lab down
"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if os.geteuid() != 0:
        print("bmx7-wg-lab: namespaces need root; try sudo", file=sys.stderr)
        return 1
    try:
        return int(arguments.run(arguments))
    except LabError as error:
        print(f"bmx7-wg-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bmx7-wg-lab: interrupted; everything is cleaned up", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bmx7-wg-lab",
        description="Build meshes of many nodes on this machine, each node in namespaces of its"
        " own with a system bus and the service. Nothing of the host is touched.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default="default", metavar="LAB", help="which lab (default)")

    up = commands.add_parser("up", parents=[named], help="build a mesh and leave it running")
    up.add_argument("--nodes", type=int, default=5, metavar="N", help="how many nodes (5)")
    up.add_argument("--topology", choices=TOPOLOGIES, default="lan", help="how they are joined")
    up.set_defaults(run=_up)

    execute = commands.add_parser("exec", parents=[named], help="run a command in a node")
    execute.add_argument("node", metavar="NODE", help="n1, n2, …")
    execute.add_argument("command", metavar="CMD", nargs="+", help="after --, with its arguments")
    execute.set_defaults(run=_exec)

    status = commands.add_parser("status", parents=[named], help="show the nodes and their peers")
    status.set_defaults(run=_status)

    down = commands.add_parser("down", parents=[named], help="end a mesh, leave nothing")
    down.set_defaults(run=_down)

    demo = commands.add_parser("demo", help="build a mesh, show what it does, clean up")
    demo.add_argument("--nodes", type=int, default=5, metavar="N", help="how many nodes (5)")
    demo.set_defaults(run=_demo)
    return parser


def _up(arguments: argparse.Namespace) -> int:
    previous = state.load(arguments.name)
    if previous and previous.alive:
        raise LabError(f"lab {arguments.name} is up; end it first: bmx7-wg-lab down")
    if previous:
        previous.destroy()
    try:
        topology = TOPOLOGIES[arguments.topology](arguments.nodes)
    except ValueError as error:
        raise LabError(str(error)) from error
    chosen = programs.find()
    with Mesh(topology, programs=chosen) as mesh:
        print(f"{arguments.nodes} nodes ({arguments.topology}), starting the services …")
        mesh.start()
        machines = (state.Machine(n.name, n.pid, n.start_time) for n in mesh.namespaces)
        lab = state.Lab(
            arguments.name, arguments.topology, arguments.nodes, chosen.kind, tuple(machines)
        )
        lab.save()
        mesh.leave_running()
    print("up; try: bmx7-wg-lab exec n1 -- bmx7-wg status")
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    lab = _existing(arguments.name)
    namespace = lab.machine(arguments.node).namespace()
    if not namespace.alive:
        raise LabError(f"{arguments.node} has ended; clean up with: bmx7-wg-lab down")
    env = programs.find(lab.programs).environment(os.environ)
    try:
        status = subprocess.run(namespace.command(arguments.command), env=env).returncode
    except KeyboardInterrupt:
        return 130
    return status if status >= 0 else 128 - status  # as shells tell of a signal


def _status(arguments: argparse.Namespace) -> int:
    lab = _existing(arguments.name)
    chosen = programs.find(lab.programs)
    print(f"lab {lab.name}: {lab.nodes} nodes, topology {lab.topology}, programs: {lab.programs}")
    print(f"{'NODE':6} {'ADDRESS':41} {'STATE':9} PEERS")
    wrong = 0
    for machine in lab.machines:
        if machine.name in TOPOLOGIES[lab.topology](lab.nodes).nodes:
            node = Node(machine.namespace(), chosen)
            line, good = _describe(node)
            wrong += not good
            print(f"{machine.name:6} {line}")
    return 1 if wrong else 0


def _describe(node: Node) -> tuple[str, bool]:
    if not node.namespace.alive:
        return f"{'-':41} ended", False
    address = str(node.mesh_address() or "-")
    try:
        state, peers = node.state(), [peer.state for peer in node.peers()]
    except LabError:
        return f"{address:41} no answer on the bus", False
    counted = ", ".join(f"{peers.count(word)} {word}" for word in sorted(set(peers)))
    return f"{address:41} {state:9} {counted or 'none'}", state == "running"


def _down(arguments: argparse.Namespace) -> int:
    _existing(arguments.name).destroy()
    print(f"lab {arguments.name} is gone")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from .demo import demo  # only who wants the show loads it

    return demo(arguments.nodes)


def _existing(name: str) -> state.Lab:
    lab = state.load(name)
    if not lab:
        others = ", ".join(state.names())
        hint = f"there are: {others}" if others else "make one: bmx7-wg-lab up"
        raise LabError(f"no lab {name}; {hint}")
    return lab


if __name__ == "__main__":
    sys.exit(main())
