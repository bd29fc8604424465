"""Bounds and timings of the protocol, each with its unit and its reason.

Everything that a neighbour can make grow has its bound here.
"""

from typing import Final

# Addresses and ports
MESH_PREFIX: Final = "fd77::/16"
BMX7_PREFIX: Final = "fd70::/16"  # primary addresses of bmx7's nodes
DEFAULT_DEVICE: Final = "wgBmx7"
DEFAULT_PORT: Final = 6277
LINK_GROUP: Final = "ff12::b7:6277"
LINK_PORT: Final = 6276
MIN_MTU: Final = 1280  # RFC 8200 5: the least an IPv6 link carries
WIREGUARD_OVERHEAD: Final = 80  # outer IPv6 (40) + UDP (8) + WireGuard (32)

MAX_PATHS: Final = 1000  # peers beyond the link whose routes are asked for their MTU

# Networks between peers
DEFAULT_BANDWIDTH: Final = 1000  # bit/s; bmx7's of an offer, and the least that a search wants
DEFAULT_METRIC: Final = 1024  # of a route; the kernel's own for IPv6
DEFAULT_TABLE: Final = 77  # the routing table of our own
MAIN_TABLE: Final = 254  # linux/rtnetlink.h, RT_TABLE_MAIN
MAX_TABLE: Final = 0xFFFFFFFF  # of routing tables, RTA_TABLE
DEFAULT_RULE: Final = 30077  # its rule's priority: before the main table's 32766
MAX_ADDRESSES: Final = 16  # of the device, besides the mesh address
MAX_SEARCHES: Final = 256  # that may be added on the bus
MAX_OFFERS: Final = 65_536  # of all peers together, of which gateways are chosen
MAX_OFFERED: Final = 3600  # bytes of an announcement for its networks; the rest needs 300
MAX_CANDIDATES: Final = 16  # of a network that are shown, the best ones
UNANSWERED: Final = 15.0  # s of traffic to a gateway without an answer until it has failed
FAILED_HOLD: Final = 60.0  # s that a gateway which failed is the last resort
LEFT_HOLD: Final = 60.0  # s that a gateway which was left is not taken by its metric alone
ADOPTED_HOLD: Final = 15.0  # s that prefixes stay with the peers of a device that was there before
MAX_TABLE_ROUTES: Final = 10_000  # read of a routing table and IP version; 64 can be announced

# Announcements
MAX_PAYLOAD: Final = 4096  # bytes of JSON
MAX_NETWORKS: Final = 64
MAX_ENDPOINTS: Final = 8
MAX_BANDWIDTH: Final = 128_849_018_880  # bit/s, bmx7's own upper bound of an offer
MIN_BANDWIDTH: Final = 36  # bit/s, bmx7's lower bound

# The peer table
MAX_PEERS: Final = 10_000  # a city; beyond it a flood
MAX_METRIC: Final = 10**12  # bit/s; bmx7's own are at most 257 Gbit/s
MAX_HOPS: Final = 255  # bmx7's own limit of a path
CONNECTED_FOR: Final = 180.0  # s; WireGuard's REJECT_AFTER_TIME
LOST_GRACE: Final = 120.0  # s; the time a source may be away
CONFLICT_HOLD: Final = 30.0  # s; the time an unproven binding keeps a public key

# Link discovery
SOLICIT_JITTER: Final = 0.25  # s; the longest wait before a solicit is answered
START_BURST: Final = (0.25, 0.5, 1.0, 2.0, 4.0)  # s between the first announcements
INTERVAL: Final = 10.0  # s between announcements
INTERVAL_JITTER: Final = 0.10  # of the interval, either way
LINK_RATE: Final = 20.0  # announcements a second, all nodes of a link together
EXPIRY_INTERVALS: Final = 3.5
NODE_RATE: Final = 1.0  # announcements a second that one node may send
NODE_BURST: Final = 5
PARSE_RATE: Final = 256 * 1024  # bytes a second parsed on one interface
