from npusim.cost.roofline import compute_ps, peak_gflop_s, roofline_ps


def test_peak_of_a_tpuv4_like_core():
    # 128 x 128 MACs at 1 GHz: 2 * 16384 GFLOP/s
    assert peak_gflop_s(128, 128, 1000) == 32_768


def test_compute_time_is_flops_over_peak():
    assert compute_ps(32_768_000, 32_768) == 1_000_000
    assert compute_ps(1, 32_768) == 1


def test_edge_pair_at_the_ridge():
    flops = 1_000_000
    size = 10_000  # 100 FLOP/byte, and 1,000 FLOP/ns over 10 bytes/ns
    assert roofline_ps(flops, size, 1000, 10) == 1_000_000
    assert roofline_ps(flops + 1000, size, 1000, 10) == 1_001_000
    assert roofline_ps(flops, 2 * size, 1000, 10) == 2_000_000
