"""Number of layers, pipeline degree → the contiguous range of layers of every stage."""

from collections.abc import Sequence

from npusim.errors import SpecError


def assign_stages(
    num_layers: int, pp: int, layer_weight_bytes: Sequence[int] | None = None
) -> list[range]:
    """`pp` contiguous, non-empty ranges that cover `num_layers` layers in order.

    Without `layer_weight_bytes`, or when all are equal, stages differ by at most one layer and the
    longer ones stand in the middle (the early middle), because the first stage also has the
    embedding and the last one the LM head. With unequal weights the largest sum of bytes of a
    stage is the smallest possible. Raises SpecError when there are more stages than layers.
    """
    if pp > num_layers:
        raise SpecError(f"pp must be at most the {num_layers} layers of the model, not {pp}")
    if layer_weight_bytes is None or len(set(layer_weight_bytes)) <= 1:
        return _ranges(_even_lengths(num_layers, pp))
    assert len(layer_weight_bytes) == num_layers
    return _ranges(_lengths_within(layer_weight_bytes, pp, _smallest_bound(layer_weight_bytes, pp)))


def _even_lengths(num_layers: int, pp: int) -> list[int]:
    base, num_longer = divmod(num_layers, pp)
    first_longer = (pp - num_longer) // 2
    return [base + (first_longer <= s < first_longer + num_longer) for s in range(pp)]


def _ranges(lengths: Sequence[int]) -> list[range]:
    found, first = [], 0
    for length in lengths:
        found.append(range(first, first + length))
        first += length
    return found


def _smallest_bound(weights: Sequence[int], pp: int) -> int:
    """The least bytes that some division into `pp` stages keeps every stage within."""
    low, high = max(weights), sum(weights)
    while low < high:
        middle = (low + high) // 2
        if sum(_lengths_within(weights, pp, middle)) == len(weights):
            high = middle
        else:
            low = middle + 1
    return low


def _lengths_within(weights: Sequence[int], pp: int, bound: int) -> list[int]:
    """Stage lengths, each taking layers up to `bound` bytes but leaving one for every later stage;
    they sum to less than all layers when the bound is too tight."""
    lengths, first = [], 0
    for stages_left in range(pp - 1, -1, -1):
        last, total = first, 0
        while last < len(weights) - stages_left and total + weights[last] <= bound:
            total += weights[last]
            last += 1
        lengths.append(last - first)
        first = last
    return lengths
