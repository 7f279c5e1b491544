"""Vectors, an operand that stays, and when each may enter → products, register by register.

One systolic array of R x C elements, one clock cycle after the other. Nothing here knows a closed
form, a fold's length or when a fold may begin: values move one element a cycle, an element works
on what its registers hold, and values that enter too early or too late give a wrong product.

Both functions go through the elements from the last row and column to the first. A register that
is read from the row above or the column to the left then still holds what it held before the
cycle, as in hardware, and no copy of the state is needed.
"""

import numpy as np

from npusim.engine.kernel import entry, kernel


@entry
def run_stationary(vectors, operands, loads, starts, double, num_cycles):
    """Sums of folds whose operand stays in the array, and the last cycle that multiplied.

    `vectors` (blocks, S, R, lanes): what streams in from the left, element r of a vector into row
    r, a cycle later than into row r - 1. `operands` (folds, R, C, lanes): what stays; fold f takes
    the vectors of block f // (folds // blocks). Fold f's operand enters at the top from cycle
    `loads[f]`, its vectors from cycle `starts[f]`. `lanes`: multiply-adds of an element in a cycle.

    `double`: an operand shifts down in a second register and is taken over by an element when the
    fold's first vector reaches it; else it shifts through the register that the element works with.
    Sums leave each column at the bottom, in order, into accumulators: sums (S, columns of all
    folds side by side), added up over blocks.
    """
    (blocks, length, rows, lanes), (folds, _, columns, _) = vectors.shape, operands.shape
    sums_out = np.zeros((length, folds // blocks * columns), np.int64)
    num_out = np.zeros(columns, np.int64)  # sums that left each column so far
    held = np.zeros((rows, columns, lanes), np.int64)
    shifting = np.zeros((rows, columns, lanes), np.int64)
    used = held if double else shifting
    own_row = np.full((rows, columns), -1)  # the row that `shifting` is for, -1: empty
    value = np.zeros((rows, columns, lanes), np.int64)  # moves right
    vector = np.full((rows, columns), -1)  # of its fold, that `value` is of, -1: none
    sums = np.zeros((rows, columns), np.int64)  # moves down
    last = -1
    for cycle in range(num_cycles):
        for r in range(rows - 1, -1, -1):
            for c in range(columns - 1, -1, -1):
                _move_right(vectors, starts, folds // blocks, cycle, value, vector, r, c)
                if vector[r, c] >= 0:
                    last = cycle
                    if vector[r, c] == 0 and double:
                        _copy(held[r, c], shifting[r, c])
                        own_row[r, c] = -1
                    above = sums[r - 1, c] if r > 0 else 0
                    sums[r, c] = above + _dot(value[r, c], used[r, c])
                    if r == rows - 1:
                        _accumulate(sums_out, num_out, sums[r, c], c)
                _shift_operand(operands, loads, cycle, shifting, own_row, r, c)
    return sums_out, last


@kernel
def _move_right(vectors, starts, wide, cycle, value, vector, r, c):
    """An element's value and the place of its vector in the fold, from the left."""
    if c > 0:
        _copy(value[r, c], value[r, c - 1])
        vector[r, c] = vector[r, c - 1]
        return
    fold = _entering(starts, vectors.shape[1], cycle - r)
    vector[r, c] = cycle - r - starts[fold] if fold >= 0 else -1
    if fold >= 0:
        _copy(value[r, c], vectors[fold // wide, vector[r, c], r])


@kernel
def _shift_operand(operands, loads, cycle, shifting, own_row, r, c):
    """The operand moves down: the last row's goes in first, each stops in its own row."""
    if r > 0:
        if own_row[r - 1, c] >= r:
            _copy(shifting[r, c], shifting[r - 1, c])
            own_row[r, c] = own_row[r - 1, c]
        elif own_row[r, c] > r:
            own_row[r, c] = -1  # it has moved on
        return
    if own_row[0, c] > 0:
        own_row[0, c] = -1
    rows = operands.shape[1]
    fold = _entering(loads, rows, cycle - c)
    if fold >= 0:
        own_row[0, c] = rows - 1 - (cycle - c - loads[fold])
        _copy(shifting[0, c], operands[fold, own_row[0, c], c])


@kernel
def _accumulate(sums_out, num_out, total, c):
    """Adds the next sum that leaves column c to its place in the product."""
    length, columns = len(sums_out), len(num_out)
    row, column = num_out[c] % length, num_out[c] // length * columns % sums_out.shape[1]
    sums_out[row, column + c] += total
    num_out[c] += 1


@entry
def run_output(lefts, tops, starts, drains, double, num_cycles):
    """Sums of folds that stay in the array, (folds, R, C), and their last cycle that multiplied.

    `lefts` (high, K, R, lanes) stream in from the left and `tops` (wide, K, C, lanes) from the
    top, fold f = i * wide + j the blocks i and j, from cycle `starts[f]`, skewed by row and column.
    `double`: when a fold's first pair reaches an element, the sum of the fold before goes to a
    second register; from cycle `drains[f]` on, skewed by column, those registers of fold f shift
    down and out at the bottom. `starts` then ends with that of a fold of something else, which
    pushes the last sums out. Without `double` sums are read in place.
    """
    (high, _, rows, lanes), (wide, _, columns, _) = lefts.shape, tops.shape
    folds = high * wide
    sums_out = np.zeros((folds, rows, columns), np.int64)
    num_out = np.zeros(columns, np.int64)
    left = np.zeros((rows, columns, lanes), np.int64)
    top = np.zeros((rows, columns, lanes), np.int64)
    fold_of = np.full((rows, columns), -1)  # of the pair in an element, -1: none
    is_first = np.zeros((rows, columns), np.bool_)
    sums = np.zeros((rows, columns), np.int64)
    leaving = np.zeros((rows, columns), np.int64)
    is_leaving = np.zeros((rows, columns), np.bool_)
    last = -1
    for cycle in range(num_cycles):
        for r in range(rows - 1, -1, -1):
            for c in range(columns - 1, -1, -1):
                if double:
                    _drain(drains, folds, cycle, leaving, is_leaving, sums_out, num_out, r, c)
                _move_pair(lefts, tops, starts, cycle, left, top, fold_of, is_first, r, c)
                fold = fold_of[r, c]
                if fold >= 0:
                    last = cycle if fold < folds else last
                    if is_first[r, c]:
                        _finish(fold - 1, double, leaving, is_leaving, sums_out, sums, r, c)
                    sums[r, c] += _dot(left[r, c], top[r, c])
    if not double:
        sums_out[folds - 1] = sums
    return sums_out, last


@kernel
def _drain(drains, folds, cycle, leaving, is_leaving, sums_out, num_out, r, c):
    """Sums that are done move down, and out of the last row."""
    rows = len(leaving)
    for f in range(folds):
        # row r shifts r + 1 times: the sums of the rows above come by, its own first
        if 0 <= cycle - drains[f] - c <= r:
            if r == rows - 1 and is_leaving[r, c]:
                fold, row = num_out[c] // rows, rows - 1 - num_out[c] % rows
                sums_out[fold, row, c] = leaving[r, c]
                num_out[c] += 1
            is_leaving[r, c] = r > 0 and is_leaving[r - 1, c]
            leaving[r, c] = leaving[r - 1, c] if r > 0 else 0


@kernel
def _move_pair(lefts, tops, starts, cycle, left, top, fold_of, is_first, r, c):
    """An element's left value, with its fold, from the left and its top value from above."""
    (high, length, _, _), wide = lefts.shape, len(tops)
    if c > 0:
        _copy(left[r, c], left[r, c - 1])
        fold_of[r, c], is_first[r, c] = fold_of[r, c - 1], is_first[r, c - 1]
    else:
        fold = fold_of[r, c] = _entering(starts, length, cycle - r)
        if fold >= 0:
            pair = cycle - r - starts[fold]
            _copy(left[r, c], lefts[fold // wide % high, pair, r])
            is_first[r, c] = pair == 0
    if r > 0:
        _copy(top[r, c], top[r - 1, c])
    else:
        fold = _entering(starts, length, cycle - c)
        if fold >= 0:
            _copy(top[r, c], tops[fold % wide, cycle - c - starts[fold], c])


@kernel
def _finish(fold, double, leaving, is_leaving, sums_out, sums, r, c):
    """A fold's sum makes room for the next one's; -1: there was none before."""
    if fold >= 0 and double:
        leaving[r, c], is_leaving[r, c] = sums[r, c], True
    elif fold >= 0:
        sums_out[fold, r, c] = sums[r, c]
    sums[r, c] = 0


@kernel
def _entering(starts, length, cycle):
    """The last fold of which something enters: in `length` cycles from its start; -1: none."""
    for f in range(len(starts) - 1, -1, -1):
        if 0 <= cycle - starts[f] < length:
            return f
    return -1


@kernel
def _copy(to, values):
    for lane in range(len(to)):
        to[lane] = values[lane]


@kernel
def _dot(one, other):
    total = 0
    for lane in range(len(one)):
        total += one[lane] * other[lane]
    return total
