"""What the service takes as the number of its peers grows: measured, tabled, drawn."""

from __future__ import annotations

import csv
import importlib
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import busy, resident

from bmx7wg.bus.names import PEER, PROPERTIES, peer_path
from bmx7wg.lab.mesh import Mesh
from bmx7wg.lab.node import NAME, Node
from bmx7wg.lab.topology import lan
from bmx7wg.lab.waiting import LabError
from tests.system.crowd import node_id

RESULTS = Path(__file__).resolve().parents[1] / "build" / "bench"
SETTLE, WINDOW = 20.0, 10.0  # s until a crowd is known, and of looking at an idle service
POLLS = 9
TIMEOUT = 240.0  # s until all that announce themselves are known


def grow(sizes: Sequence[int]) -> list[Mapping[str, float]]:
    """Memory and processor time of a service with so many neighbours; none of them answers."""
    found: list[Mapping[str, float]] = []
    with Mesh(lan(2)) as mesh:
        node, crowd = mesh["n1"], mesh["n2"]
        node.start()
        node.wait_ready()
        assert node.service
        process, present, joined = node.service.pid, 0, 0.0
        for size in sizes:
            announce(crowd, 0, present)  # who is not heard again in time is given up
            begun = busy(process)
            join(node, crowd, present, size)
            time.sleep(SETTLE)
            joined += busy(process) - begun
            begun = busy(process)
            time.sleep(WINDOW)
            idle = (busy(process) - begun) / WINDOW
            figures = {
                "peers": size,
                "rss_mb": resident(process),
                "join_s": joined,
                "idle_percent": 100 * idle,
                "poll_s": poll(node, process),
            }
            print(figures, flush=True)
            found.append(figures)
            present = size
    return found


def join(node: Node, crowd: Node, first: int, last: int) -> None:
    """Announce nodes until the service has them all on the bus."""
    deadline = time.monotonic() + TIMEOUT
    while not node.said("STATUS").startswith(f"{last} peers"):
        if time.monotonic() > deadline:
            raise LabError(f"not {last} peers after {TIMEOUT:g} s: {node.said('STATUS')}")
        announce(crowd, first, last)
        time.sleep(2)  # what is still in the queue


def announce(crowd: Node, first: int, last: int) -> None:
    """Have nodes say that they are there."""
    command = f"/usr/bin/python3 -m tests.system.crowd eth0 join {first} {last}"
    announced = crowd.namespace.spawn(command.split(), env=crowd.programs.environment())
    announced.wait(TIMEOUT)


def poll(node: Node, process: int) -> float:
    """Processor time of the service when somebody reads a counter, the others fresh with it.

    The median: now and then the service has looked by itself just before, or has more to do.
    """
    peer = peer_path(node_id(0))
    taken = []
    for _ in range(POLLS):
        time.sleep(1.1)  # counters that are younger are not read again
        begun = busy(process)
        node.bus.call(NAME, peer, PROPERTIES, "Get", "ss", PEER, "RxBytes")
        taken.append(busy(process) - begun)
    return statistics.median(taken)


def draw(service: Iterable[Mapping[str, float]]) -> None:
    """The table and the drawing of what the service takes."""
    rows = list(service)
    RESULTS.mkdir(parents=True, exist_ok=True)
    table = RESULTS / "peers.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
    except ImportError:
        print(f"  {table}; no drawing: apt install python3-matplotlib", file=sys.stderr)
        return
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    peers = [row["peers"] for row in rows]
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), layout="constrained")
    for axis, (column, label) in zip(
        axes,
        {
            "rss_mb": "resident memory (MB)",
            "join_s": "processor time for all to join (s)",
            "poll_s": "processor time of one look at the counters (s)",
        }.items(),
    ):
        axis.plot(peers, [row[column] for row in rows], marker="o")
        axis.set(xlabel="peers, in the device and on the bus", ylabel=label, xlim=0, ylim=0)
        axis.grid(alpha=0.3)
    drawing = table.with_suffix(".png")
    figure.savefig(drawing, dpi=120)
    print(f"  {table}, {drawing}")
