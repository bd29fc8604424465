"""What happens to the service while packets flow, as shell commands for a guest.

Each returns when it is over: the service is on the bus again, in another process where it is one;
bmx7 has learnt of the other node again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from . import bmx7
from .container import SHARED, Container
from .guests import NAME, PATH, mesh_address

STREAM = Path(__file__).with_name("stream.py")

_PID = "systemctl show -P MainPID bmx7-wg"
_STATE = f"busctl get-property {NAME} {PATH} {NAME}.Manager State"
_BACK = f"until {_STATE} | grep running; do sleep 0.1; done"
_OTHER = f"until test $({_PID}) != 0 && test $({_PID}) != $before; do sleep 0.1; done"

EVENTS = {
    "restart": f"systemctl restart bmx7-wg; {_BACK}",
    "kill9": f"before=$({_PID}); kill -9 $before; {_OTHER}; {_BACK}",
    "upgrade": f"apt-get -qq install bmx7-wg; {_BACK}",
    "reload": f"systemctl reload bmx7-wg; {_BACK}",
    # logind of Debian 13 does not find back to a new bus, and apt waits 25 s for it each time.
    "bus": f"systemctl restart dbus; {_BACK}; systemctl try-restart systemd-logind",
    # Some seconds more, in which a peer that is taken for lost would be taken away.
    "bmx7": f"systemctl restart bmx7; until {bmx7.THERE.heard()}; do sleep 0.1; done; sleep 4",
    "networkd": "systemctl restart systemd-networkd; networkctl --no-legend list | grep wgBmx7",
}
_AFTER = 0.5  # s in which what comes late would be seen

# In a virtual machine the other node is in a network namespace. It has the same kernel, but
# no bus and no systemd of its own, and a runtime directory of its own for bmx7.
THERE_RUNTIME = "/srv/there"
OTHER_NODE = f"""
set -eu
say() {{ echo "$(cut -d ' ' -f 1 /proc/uptime) $*"; }}
reached() {{
    address=$(ip -n there -6 -brief address show dev wgBmx7 | grep -o 'fd77[0-9a-f:]*')
    ping -q -6 -c 1 -W 2 $address >/dev/null
}}
systemctl is-active bmx7-wg
ip netns add there
ip link add eth0 type veth peer name eth0 netns there
ip link set eth0 up
ip -n there link set lo up
ip -n there link set eth0 up
ip address add {bmx7.HERE.address}/16 dev eth0 nodad
ip -n there address add {bmx7.THERE.address}/16 dev eth0 nodad
mkdir -p {SHARED} /run/there
echo 'discovery.bmx7.runtime-dir = "{THERE_RUNTIME}"' >/run/there/config.toml
systemd-run --quiet --unit=there --property=NetworkNamespacePath=/run/netns/there \\
    --setenv=DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere \\
    /usr/sbin/bmx7-wgd --config-dir=/run/there --state-dir=/var/lib/there
"""

_STREAMED = """
{before}
say {name}: waits for the other node
until reached 2>/dev/null; do sleep 0.2; done
rm -f /run/stream
systemd-run --quiet --collect --unit=stream --property=StandardOutput=truncate:/run/stream \\
    python3 /root/stream.py $address
until grep -qs sending /run/stream; do sleep 0.1; done
say {name}: begins
{event}
say {name}: is over
sleep 1
systemctl stop stream
echo "lost {name} $(tail -n 1 /run/stream)"
"""


def streams(events: Mapping[str, str], first: Mapping[str, str]) -> str:
    """For the shell of a virtual machine, after OTHER_NODE: a stream through each event.

    *first* is what comes before the stream of an event, by its name. `results` reads the output.
    """
    return "".join(
        _STREAMED.format(name=name, event=event, before=first.get(name, ""))
        for name, event in events.items()
    )


def results(output: str) -> dict[str, dict[str, int]]:
    """The result of each event's stream."""
    lines = (line.split(" ", 2) for line in output.splitlines() if line.startswith("lost "))
    return {name: json.loads(result) for _, name, result in lines}


def stream_through(here: Container, there: Container, event: str) -> dict[str, int]:
    """Let it happen to one node in a stream of its to the other; the stream's result."""
    (here.root / "root/stream.py").write_text(STREAM.read_text())
    here.run(
        "rm -f /run/stream; systemd-run --quiet --collect --unit=stream"
        " --property=StandardOutput=truncate:/run/stream"
        f" python3 /root/stream.py {mesh_address(there)}"
    )
    here.wait("grep sending /run/stream")
    here.run(EVENTS[event])
    here.run(f"sleep {_AFTER}; systemctl stop stream")
    return dict(json.loads(here.run("tail -n 1 /run/stream").output))
