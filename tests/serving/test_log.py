"""Columns of whole numbers, a row at a time."""

import pytest

from npusim.serving.log import add_row, new_log


def test_rows_have_their_index_and_a_value_for_each_column():
    log = new_log(("request", "start_ps"))
    assert [add_row(log, {"start_ps": 1 << 62, "request": i}) for i in range(3)] == [0, 1, 2]
    assert {name: column.tolist() for name, column in log.items()} == {
        "request": [0, 1, 2], "start_ps": [1 << 62] * 3,
    }  # fmt: skip
    with pytest.raises(KeyError):
        add_row(log, {"request": 3})
