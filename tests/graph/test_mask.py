import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.graph.batch import Slice
from npusim.graph.mask import attended_tokens, masked_slices, scored_pairs

NEW = st.integers(1, 40)
CONTEXT = st.integers(0, 40)
WINDOW = st.integers(0, 50)


def brute(new, context, window):
    """(rows seen by anyone, pairs) by looking at every query and key."""
    seen, pairs = set(), 0
    for query in range(context, context + new):
        for key in range(context + new):
            if key <= query and (not window or query - key < window):
                seen.add(key)
                pairs += 1
    return len(seen), pairs


@given(NEW, CONTEXT, WINDOW)
def test_equals_the_mask_counted_out(new, context, window):
    expected = brute(new, context, window)
    assert (attended_tokens(new, context, window), scored_pairs(new, context, window)) == expected


@given(st.lists(NEW, min_size=1, max_size=6), WINDOW)
def test_chunks_score_what_the_whole_prompt_scores(chunks, window):
    done, pairs = 0, 0
    for chunk in chunks:
        pairs += scored_pairs(chunk, done, window)
        done += chunk
    assert pairs == scored_pairs(done, 0, window)


@pytest.mark.parametrize("context, rows", [(6, 7), (7, 8), (8, 8)])
def test_decode_reads_at_most_the_window(context, rows):
    assert attended_tokens(1, context, window=8) == scored_pairs(1, context, window=8) == rows


def test_slices_keep_the_order_of_the_batch():
    batch = (Slice(2, 3), Slice(1, 0), Slice(2, 3))
    assert masked_slices(batch) == ((2, 5, 9), (1, 1, 1), (2, 5, 9))
