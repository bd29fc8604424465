"""What the benchmarks share: runs, medians, the last line, and the prober."""

from __future__ import annotations

import argparse
import select
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv6Address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bmx7wg.lab import programs  # noqa: E402
from bmx7wg.lab.namespace import Namespace  # noqa: E402
from bmx7wg.lab.ping import Pinger  # noqa: E402
from bmx7wg.lab.waiting import LabError  # noqa: E402


def arguments(description: str, runs: int, quick: int) -> argparse.Namespace:
    """The command line: ``--runs``, ``--quick``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=0, metavar="N", help=f"runs of each ({runs})")
    parser.add_argument("--quick", action="store_true", help=f"{quick} runs, under a minute")
    chosen = parser.parse_args()
    chosen.runs = chosen.runs or (quick if chosen.quick else runs)
    print(f"{description}: {chosen.runs} runs, programs: {programs.find().kind}", flush=True)
    return chosen


def interleave(cases: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Run the cases in turn, *runs* times, so that a busy moment hits all of them."""
    results: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(runs):
        for name, case in cases.items():
            _progress(f"run {number + 1} of {runs}: {name}")
            try:
                results[name].append(case())
            except LabError as error:
                raise LabError(f"{name}: {error}") from error
    _progress("")
    return results


def report(name: str, values: Sequence[float], unit: str, reference: float = 0.0) -> None:
    """A line with the median, the spread, and the ratio to a reference's median."""
    median = statistics.median(values)
    ratio = f"  {median / reference:6.2f} x the reference" if reference else ""
    spread = f"{min(values):8.3f} … {max(values):8.3f}"
    print(f"  {name:34} {median:8.3f} {unit:2} ({spread}){ratio}", flush=True)


def last_line(name: str, figures: Mapping[str, Iterable[float]]) -> None:
    """The medians for machines to read."""
    text = " ".join(f"{key}={statistics.median(values):.3f}" for key, values in figures.items())
    print(f"{name}: {text}")


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; what goes wrong is one line, not a traceback."""
    try:
        main()
    except LabError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def busy(pid: int) -> float:
    """Processor time that all threads of a process had so far, in seconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def resident(pid: int) -> float:
    """Resident memory in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Prober:
    """Pings from nodes to nodes, from before they can answer, until all have answered.

    A node pings those that were started before it, not the other way round as well: two initiations
    of WireGuard's handshake that cross cost both ends 5 s, and pings both ways in the same
    moment would bring that about. Addresses may become known meanwhile. *period* is the time
    between two pings of a pair in seconds.
    """

    def __init__(
        self,
        namespaces: Sequence[Namespace],
        address: Callable[[Namespace], IPv6Address | None],
        period: float,
        interface: str = "",
    ) -> None:
        self._namespaces = namespaces
        self._address = address
        self._period = period
        self._pingers = {namespace.name: Pinger(namespace, interface) for namespace in namespaces}
        order = [namespace.name for namespace in namespaces]
        self._pairs = {(one, other) for n, one in enumerate(order) for other in order[:n]}
        self._answered: dict[tuple[str, str], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, timeout: float) -> float:
        """When the last pair had its first answer (monotonic, s)."""
        self._thread.join(timeout)
        self._stop.set()
        self._thread.join()
        for pinger in self._pingers.values():
            pinger.close()
        if missing := self._pairs - self._answered.keys():
            pairs = ", ".join(f"{one} to {other}" for one, other in sorted(missing))
            raise LabError(f"no answer after {timeout:g} s: {pairs}")
        return max(self._answered.values())

    def _run(self) -> None:
        pingers = self._pingers
        known: dict[str, IPv6Address] = {}
        waiting = set(self._pairs)
        while waiting and not self._stop.is_set():
            turn = time.monotonic() + self._period
            for namespace in self._namespaces:
                if namespace.name not in known and (address := self._address(namespace)):
                    known[namespace.name] = address
            names = {address: name for name, address in known.items()}
            for one, other in waiting:
                if other in known:
                    pingers[one].send(known[other])
            while waiting and (left := turn - time.monotonic()) > 0:
                readable = select.select(list(pingers.values()), [], [], left)[0]
                for pinger in readable:
                    while reply := pinger.receive():
                        pair = (pinger.name, names.get(reply.address, ""))
                        if pair in waiting:
                            waiting.remove(pair)
                            self._answered[pair] = reply.received


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
