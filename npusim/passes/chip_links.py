"""Bytes and the links of chips → the time of a message between two of them, alone."""

from npusim.cost.interconnect import link_collective_ps
from npusim.spec.links import Chips


def message_ps(num_bytes: int, chips: Chips) -> int:
    """One message from chip to chip: alpha-beta by the library's point_to_point protocol."""
    return link_collective_ps("point_to_point", max(1, num_bytes), 2, chips)
