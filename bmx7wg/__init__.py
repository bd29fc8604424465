"""bmx7-wg: one WireGuard device that finds and connects every node of a mesh."""

__version__ = "0.2.0"
