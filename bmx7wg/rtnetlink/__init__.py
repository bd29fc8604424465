"""Links, addresses, routes, rules and their events, over the socket of ``netlink.py``.

All calls block for as long as the kernel takes: microseconds, or as long as another process
holds the kernel's rtnl lock. An event loop calls them in a thread, except for `Events`.
"""

from .events import Event, Events, Group
from .links import (
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_TENTATIVE,
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_MULTICAST,
    IFF_UP,
    Address,
    Interface,
    Link,
)
from .netconf import Forwarding
from .requests import Rtnetlink
from .routes import (
    RT_TABLE_MAIN,
    RTPROT_KERNEL,
    RTPROT_STATIC,
    Route,
    Rule,
    add_route,
    add_rule,
    delete_route,
    delete_rule,
)

__all__ = [
    "Event",
    "Events",
    "Forwarding",
    "Group",
    "IFA_F_DADFAILED",
    "IFA_F_NODAD",
    "IFA_F_TENTATIVE",
    "IFF_LOOPBACK",
    "IFF_LOWER_UP",
    "IFF_MULTICAST",
    "IFF_UP",
    "Address",
    "Interface",
    "Link",
    "Rtnetlink",
    "RT_TABLE_MAIN",
    "RTPROT_KERNEL",
    "RTPROT_STATIC",
    "Route",
    "Rule",
    "add_route",
    "add_rule",
    "delete_route",
    "delete_rule",
]
