"""Vectors, an operand that stays, and when each may enter → products, register by register.

One systolic array of R x C elements, one clock cycle after the other. Nothing here knows a closed
form, a fold's length or when a fold may begin: values move one element a cycle, an element works
on what its registers hold, and values that enter too early or too late give a wrong product.

Both functions go through the elements from the last row and column to the first. A register that
is read from the row above or the column to the left then still holds what it held before the
cycle, as in hardware, and no copy of the state is needed.
"""

import numpy as np

from npusim.engine.kernel import entry


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
    blocks, length, rows, lanes = vectors.shape
    folds, _, columns, _ = operands.shape
    wide = folds // blocks
    sums_out = np.zeros((length, wide * columns), np.int64)
    num_out = np.zeros(columns, np.int64)  # sums that left each column so far
    held = np.zeros((rows, columns, lanes), np.int64)
    shifting = np.zeros((rows, columns, lanes), np.int64)
    own_row = np.full((rows, columns), -1)  # the row that `shifting` is for, -1: empty
    value = np.zeros((rows, columns, lanes), np.int64)  # moves right
    is_valid = np.zeros((rows, columns), np.bool_)
    is_first = np.zeros((rows, columns), np.bool_)  # the first vector of a fold
    sums = np.zeros((rows, columns), np.int64)  # moves down
    last = -1
    for cycle in range(num_cycles):
        for r in range(rows - 1, -1, -1):
            for c in range(columns - 1, -1, -1):
                if c > 0:
                    value[r, c] = value[r, c - 1]
                    is_valid[r, c], is_first[r, c] = is_valid[r, c - 1], is_first[r, c - 1]
                else:
                    is_valid[r, c] = False
                    for f in range(folds):
                        row = cycle - starts[f] - r
                        if 0 <= row < length:
                            value[r, c] = vectors[f // wide, row, r]
                            is_valid[r, c], is_first[r, c] = True, row == 0
                if is_valid[r, c]:
                    last = cycle
                    if is_first[r, c] and double:
                        held[r, c] = shifting[r, c]
                        own_row[r, c] = -1
                    used = held if double else shifting
                    total = sums[r - 1, c] if r > 0 else 0
                    for lane in range(lanes):
                        total += value[r, c, lane] * used[r, c, lane]
                    sums[r, c] = total
                    if r == rows - 1:
                        row, column = num_out[c] % length, num_out[c] // length % wide
                        sums_out[row, column * columns + c] += total
                        num_out[c] += 1
                # the operand: the last row's goes in first, each stops in its own row
                if r > 0:
                    if own_row[r - 1, c] >= r:
                        shifting[r, c], own_row[r, c] = shifting[r - 1, c], own_row[r - 1, c]
                    elif own_row[r, c] > r:
                        own_row[r, c] = -1  # it has moved on
                else:
                    if own_row[0, c] > 0:
                        own_row[0, c] = -1
                    for f in range(folds):
                        row = rows - 1 - (cycle - loads[f] - c)
                        if 0 <= row < rows:
                            shifting[0, c], own_row[0, c] = operands[f, row, c], row
    return sums_out, last


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
    high, length, rows, lanes = lefts.shape
    wide, _, columns, _ = tops.shape
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
                for f in range(folds):
                    # row r shifts r + 1 times: the sums of the rows above come by, its own first
                    if double and 0 <= cycle - drains[f] - c <= r:
                        if r == rows - 1 and is_leaving[r, c]:
                            fold, row = num_out[c] // rows, rows - 1 - num_out[c] % rows
                            sums_out[fold, row, c] = leaving[r, c]
                            num_out[c] += 1
                        is_leaving[r, c] = r > 0 and is_leaving[r - 1, c]
                        leaving[r, c] = leaving[r - 1, c] if r > 0 else 0
                if c > 0:
                    left[r, c] = left[r, c - 1]
                    fold_of[r, c], is_first[r, c] = fold_of[r, c - 1], is_first[r, c - 1]
                else:
                    fold_of[r, c] = -1
                    for f in range(len(starts)):
                        pair = cycle - starts[f] - r
                        if 0 <= pair < length:
                            left[r, c] = lefts[f // wide % high, pair, r]
                            fold_of[r, c], is_first[r, c] = f, pair == 0
                if r > 0:
                    top[r, c] = top[r - 1, c]
                else:
                    for f in range(len(starts)):
                        pair = cycle - starts[f] - c
                        if 0 <= pair < length:
                            top[r, c] = tops[f % wide, pair, c]
                fold = fold_of[r, c]
                if fold >= 0:
                    last = cycle if fold < folds else last
                    if is_first[r, c]:
                        if fold > 0 and double:
                            leaving[r, c], is_leaving[r, c] = sums[r, c], True
                        elif fold > 0:
                            sums_out[fold - 1, r, c] = sums[r, c]
                        sums[r, c] = 0
                    for lane in range(lanes):
                        sums[r, c] += left[r, c, lane] * top[r, c, lane]
    if not double:
        sums_out[folds - 1] = sums
    return sums_out, last
