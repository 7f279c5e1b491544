"""Interpolation of measured points: against numpy inside the grid, by hand outside of it."""

from itertools import product

import numpy as np
import pytest

from npusim.serving.iteration.curves import Curve, Surface, Volume


def test_a_curve_is_numpys_inside_the_grid():
    points = {1.0: 5.0, 2.0: 4.0, 8.0: 40.0, 16.0: 41.0}
    curve = Curve(points)
    places = np.linspace(1, 16, 61)
    expected = np.interp(places, list(points), list(points.values()))
    assert [curve.at(place) for place in places] == pytest.approx(expected)


def test_a_curve_is_flat_below_and_goes_on_above():
    curve = Curve({4.0: 10.0, 8.0: 12.0, 10.0: 20.0})
    assert (curve.at(0), curve.at(4), curve.at(10)) == (10, 10, 20)
    assert curve.at(15) == 20 + 5 * 4  # the slope of its last segment
    assert Curve({3.0: 7.0}).at(1) == Curve({3.0: 7.0}).at(99) == 7


def test_a_product_of_lines_is_met_at_every_place():
    def time(a, b, c, d):
        return 3 + a + 2 * b + c * (1 + d) + a * b * c * d / 100

    axes = ([1, 2, 4], [0, 3, 6], [0, 1, 8], [5, 10])
    volume = Volume({at: time(*at) for at in product(*axes)})
    for at in product((1, 3, 9), (0, 2, 7), (0, 5, 30), (5, 6, 40)):
        assert volume.at(*at) == pytest.approx(time(*at))


def test_a_ragged_grid_takes_each_row_on_its_own_axis():
    surface = Surface({(1, 10): 1.0, (1, 20): 2.0, (1, 80): 8.0, (2, 10): 11.0, (2, 20): 12.0})
    assert surface.at(1, 40) == 4
    assert surface.at(2, 40) == 14
    assert surface.at(1.5, 40) == 9
