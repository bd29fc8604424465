"""How long a client has no answer from the Internet when the gateway that it uses goes."""

from __future__ import annotations

import time
from collections.abc import Callable

import _common  # noqa: F401  (it makes the program importable)

from bmx7wg.lab.internet import CLIENT, GATEWAY, Internet, Traffic
from bmx7wg.lab.mesh import Mesh
from bmx7wg.lab.node import Node
from bmx7wg.lab.topology import lan
from bmx7wg.lab.waiting import wait_until

DEFAULT = "0.0.0.0/0"
TIMEOUT = 60.0
SETTLED = 5.0  # s that traffic goes on before and after


def goodbye() -> float:
    """The service of the gateway stops; the longest gap in seconds."""
    return _gap(lambda gateway: gateway.stop())


def cut() -> float:
    """The gateway's cable to the others is cut; the longest gap in seconds."""
    return _gap(lambda gateway: gateway.link("down"))


def _gap(harm: Callable[[Node], object]) -> float:
    with Internet() as internet, Mesh(lan(4)) as mesh:
        client, *gateways = mesh
        client.configure(CLIENT)
        for gateway in gateways:
            gateway.configure(GATEWAY)
            internet.join(gateway)
        mesh.start()
        with Traffic(client) as traffic:
            wait_until(lambda: client.gateway_of(DEFAULT), "a gateway", timeout=TIMEOUT)
            time.sleep(SETTLED)
            traffic.wait(TIMEOUT)
            used = mesh[client.gateway_of(DEFAULT)]
            begun = time.monotonic()
            harm(used)
            others = {gateway.name for gateway in gateways} - {used.name}
            wait_until(
                lambda: client.gateway_of(DEFAULT) in others, "another gateway", timeout=TIMEOUT
            )
            traffic.wait(TIMEOUT)
            time.sleep(SETTLED)
            return max(traffic.gaps(begun))
