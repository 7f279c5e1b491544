"""Traffic and a seed → requests sorted by arrival."""

from npusim.serving.request import Request
from npusim.serving.traffic.synthetic import drawn
from npusim.serving.traffic.trace import replayed
from npusim.spec.traffic import SyntheticTraffic, Traffic


def requests_of(traffic: Traffic, seed: int) -> list[Request]:
    """Requests of `traffic`, sorted by arrival, with ids 0, 1, … in that order; the first arrives
    at 0 ps. The same seed gives the same requests; a trace uses it only to shuffle.

    Ids of shared prefixes are of one traffic: groups are numbered from 0, those of a csv in the
    order in which they first stand in the file, and a Mooncake trace has its own. A request
    that shares nothing has no ids, so that it meets no one else's. A group is one block as long as
    its prefix, so that a KV block of any size knows which of its tokens are of the group; the last
    block may end after the prompt.

    Raises SpecError for a trace that cannot be read or a slice of it that is empty (place:
    `file:line` or the file) and for arrivals beyond 2**62 ps.
    """
    if isinstance(traffic, SyntheticTraffic):
        rows = drawn(traffic, seed)
    else:
        rows = replayed(traffic, seed)
    return [Request(request_id, *row) for request_id, row in enumerate(rows)]
