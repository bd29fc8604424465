"""What happens to the service while packets flow, as shell commands for a guest.

Each returns when it is over: the service is on the bus again, in another process where it is one;
bmx7 has learnt of the other node again.
"""

from __future__ import annotations

import json
from pathlib import Path

from . import bmx7
from .container import Container
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
