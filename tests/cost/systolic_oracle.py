"""A systolic array simulated register by register and cycle by cycle: the oracle of cycle counts.

Nothing here knows a closed form: tokens move one element a cycle, an element multiplies what it
holds, and a wrong start time shows as a wrong product.
"""

import itertools

import numpy as np


def _cut(matrix, rows, columns):
    """Zero-padded [rows, columns] tiles of `matrix`, by tile position."""
    high, wide = -(-matrix.shape[0] // rows), -(-matrix.shape[1] // columns)
    padded = np.zeros((high * rows, wide * columns), dtype=np.int64)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    return {
        (i, j): padded[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        for i, j in itertools.product(range(high), range(wide))
    }


def run_stationary(inputs, weights, rows, columns, loads, starts):
    """inputs @ weights with weight tiles held in the array. Fold f's weights enter from cycle
    loads[f], its inputs from cycle starts[f]. Returns (product, index of the last busy cycle)."""
    m, n = inputs.shape[0], weights.shape[1]
    input_tiles, tiles = _cut(inputs, m, rows), _cut(weights, rows, columns)
    folds = sorted(tiles)
    product = np.zeros((m, n + columns), dtype=np.int64)
    held = np.zeros((rows, columns), dtype=np.int64)
    held_fold = np.full((rows, columns), -1)
    shadow = [[None] * columns for _ in range(rows)]  # (weight, row it belongs to)
    passing = [[None] * columns for _ in range(rows)]  # (fold, input row) moving right
    sums = np.zeros((rows, columns), dtype=np.int64)
    end = max(starts) + m + rows + columns
    last = 0
    for cycle in range(end):
        moving, old_sums = [row[:] for row in passing], sums.copy()
        old_shadow = [row[:] for row in shadow]
        for r, c in itertools.product(range(rows), range(columns)):
            token = _fed(starts, m, cycle - r) if c == 0 else moving[r][c - 1]
            passing[r][c] = token
            if token is not None:
                fold, row = token
                if held_fold[r, c] != fold and old_shadow[r][c] is not None:
                    held[r, c], held_fold[r, c] = old_shadow[r][c][0], fold
                above = old_sums[r - 1, c] if r else 0
                value = input_tiles[0, folds[fold][0]][row, r]
                sums[r, c] = above + value * held[r, c]
                if r == rows - 1:
                    product[row, min(folds[fold][1] * columns + c, n)] += sums[r, c]
                last = cycle
            _shift_in(shadow, old_shadow, r, c, _weight(tiles, folds, loads, rows, c, cycle))
    return product[:, :n], last


def _fed(starts, m, cycle):
    """(fold, input row) that enters a row whose skew is already taken off `cycle`."""
    for fold, start in enumerate(starts):
        if start <= cycle < start + m:
            return fold, cycle - start
    return None


def _weight(tiles, folds, loads, rows, column, cycle):
    """(weight, its row) that enters column `column` at the top in this cycle; last row first."""
    for fold, load in enumerate(loads):
        step = cycle - load - column
        if 0 <= step < rows:
            row = rows - 1 - step
            return tiles[folds[fold]][row, column], row
    return None


def _shift_in(shadow, old, r, c, entering):
    """A weight moves down until it is in its own row."""
    above = entering if r == 0 else old[r - 1][c]
    if above is not None and above[1] >= r:
        shadow[r][c] = above
    elif old[r][c] is not None and old[r][c][1] > r:
        shadow[r][c] = None  # it moved on


def run_output_stationary(inputs, weights, rows, columns, starts, drain_after):
    """inputs @ weights with sums held in the array. When the first pair of the next fold reaches
    an element its sum goes to a second register; those shift down and out from `drain_after`
    cycles after that fold's start. Returns (product or None after a collision, last busy cycle)."""
    (m, k), n = inputs.shape, weights.shape[1]
    lefts, tops = _cut(inputs, rows, k), _cut(weights, k, columns)
    folds = sorted((i, j) for i, _ in lefts for _, j in tops)
    out = {fold: np.zeros((rows, columns), dtype=np.int64) for fold in range(len(folds))}
    sums = np.zeros((rows, columns), dtype=np.int64)
    shadow = [[None] * columns for _ in range(rows)]
    last = 0
    # one more start, far away, pushes the last sums out
    starts = [*starts, starts[-1] + k + 3 * rows + columns]
    for cycle in range(starts[-1] + drain_after + 3 * rows + columns):
        old = [row[:] for row in shadow]
        for r, c in itertools.product(range(rows), range(columns)):
            shifts = [cycle - start - drain_after - c for start in starts[1:]]
            shift = next((s for s in shifts if 0 <= s <= r and s < rows), None)
            if shift is not None:  # rows above have sent this fold's sums on, and hold the next's
                if r == rows - 1 and old[r][c] is not None:
                    fold, row, value = old[r][c]
                    out[fold][row, c] = value
                shadow[r][c] = old[r - 1][c] if r > shift else None
            step = [(f, cycle - start - r - c) for f, start in enumerate(starts)]
            for fold, pair in step:
                if pair == 0 and fold:
                    if shadow[r][c] is not None:
                        return None, last
                    shadow[r][c] = (fold - 1, r, sums[r, c])
                if pair == 0:
                    sums[r, c] = 0
                if 0 <= pair < k and fold < len(folds):
                    i, j = folds[fold]
                    sums[r, c] += lefts[i, 0][r, pair] * tops[0, j][pair, c]
                    last = cycle
    return _assemble(out, folds, m, n, rows, columns), last


def _assemble(out, folds, m, n, rows, columns):
    product = np.zeros((m + rows, n + columns), dtype=np.int64)
    for fold, (i, j) in enumerate(folds):
        product[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] = out[fold]
    return product[:m, :n]
