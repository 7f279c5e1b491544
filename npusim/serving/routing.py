"""A request and the instances that could take it → the one that does."""

from collections.abc import Callable, Sequence

from npusim.serving.instance import Instance
from npusim.serving.request import Request

Router = Callable[[Request, Sequence[Instance], int], Instance]


def round_robin(request: Request, instances: Sequence[Instance], turn: int) -> Instance:
    """One after the other."""
    return instances[turn % len(instances)]


def least_loaded(request: Request, instances: Sequence[Instance], turn: int) -> Instance:
    """The one with the fewest tokens to compute; on a tie the one that holds less KV, then the
    first."""
    return min(instances, key=lambda i: (i.load.tokens, i.queues.cache.occupancy, i.index))


def prefix_aware(request: Request, instances: Sequence[Instance], turn: int) -> Instance:
    """The one with the fewest tokens to compute when those of the prompt that its prefix cache
    holds are left out."""

    def left(instance: Instance) -> tuple[int, float, int]:
        cache = instance.queues.cache
        cached = cache.lookup(request)
        return instance.load.tokens - cached, cache.occupancy, instance.index

    return min(instances, key=left)


ROUTERS: dict[str, Router] = {
    "round_robin": round_robin,
    "least_loaded": least_loaded,
    "prefix_aware": prefix_aware,
}
