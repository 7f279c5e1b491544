from npusim.graph.ir import ops_in_order
from npusim.graph.micro import build_gemm


def test_gemm_is_one_matmul():
    (op,) = ops_in_order(build_gemm(3, 5, 7))
    assert (op.name, op.role, op.m, op.k, op.n) == ("gemm", "gemm", 3, 5, 7)
    assert (op.flops, op.weight_elements) == (2 * 3 * 5 * 7, 35)
    assert (op.input_elements, op.output_elements) == (15, 21)
