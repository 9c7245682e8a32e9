import math
import tracemalloc

import numpy as np
import pytest

from initlib import Key, normal, sparse
from initlib.axes import canonical
from initlib.stream.engine import DrawRequest
from initlib.stream.numpy_engine import NumPyEngine


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("sparsity", [0, 0.1, 1 / 3, 0.9, 1])
@pytest.mark.parametrize(
    ("shape", "axes"), [((7, 10), None), ((10, 7), "OI"), ((3, 4, 10), "WIO"), ((20, 7), "(2 O)I"), ((1, 1), None)]
)
def test_each_input_has_its_zeros_and_other_weights_are_normal(shape, axes, sparsity, dtype):
    parts = canonical(shape, axes)
    weight = parts.arrange(sparse(sparsity, 0.5)(shape, dtype, axes=axes, seed=4)).reshape(parts.matrices)
    values = parts.arrange(normal(0, 0.5)(shape, dtype, axes=axes, seed=4)).reshape(parts.matrices)
    assert ((weight == 0).sum(axis=2) == math.ceil(sparsity * parts.matrices[2])).all()
    assert ((weight == values) | (weight == 0)).all()


def test_zeros_are_counted_as_in_pytorch():
    torch = pytest.importorskip("torch")
    for rows, sparsity in ((10, 0.25), (7, 0.5), (100, 0.29)):
        peer = (torch.nn.init.sparse_(torch.empty(rows, 5), sparsity) == 0).sum(dim=0).tolist()
        assert (sparse(sparsity)((rows, 5), axes="OI", seed=0) == 0).sum(axis=0).tolist() == peer


def test_the_mask_follows_from_the_key_and_the_name():
    def mask(**key):
        return sparse(0.5)((50, 40), **key) == 0

    assert (mask(seed=1) == mask(seed=1)).all()
    assert (mask(seed=1) == (sparse(0.5)((40, 50), axes="OI", seed=1) == 0).T).all()
    assert (mask(seed=1) != mask(seed=2)).any()
    assert (mask(seed=1) != mask(seed=1, name="dense")).any()
    assert (mask(seed=1) != (normal()((50, 40), seed=1) < 0)).any()


def test_the_weights_of_a_seed_never_change():
    known = [[0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1], [1, 0, 0, 1, 1, 0]]
    assert ((sparse(0.5)((4, 6), seed=0) == 0) == np.array(known, bool)).all()


def test_zeros_are_uniformly_distributed():
    rows, columns = 2**14, 64
    zeros = sparse(0.25)((rows, columns), seed=3) == 0
    # Each row has 16 of 64, without replacement. After division by the remaining share, chi-square has 63 degrees.
    counts = zeros.sum(axis=0)
    chi_square = ((counts - rows / 4) ** 2).sum() / (rows / 4 * 3 / 4) * 63 / 64
    assert chi_square < 176.7
    # Neighbours are zero together as often as the hypergeometric law has it.
    together = (zeros[:, ::2] & zeros[:, 1::2]).mean()
    expected = 16 / 64 * 15 / 63
    assert abs(together - expected) < 7.13 * math.sqrt(expected / (rows * 32))


def test_equal_ranks_go_to_the_lower_index():
    drawn = {}

    class Tied(NumPyEngine):
        def draw(self, law, weight):
            values = super().draw(law, weight)
            name = "mask" if weight.key == Key(0).fold_in("mask") else None
            drawn[name] = values.round(0) if name == "mask" else values
            return drawn[name]

    weight = sparse(0.5).compose(DrawRequest((200, 9), None, "float32", Key(0)), Tied())
    first = np.argsort(drawn["mask"], axis=1, kind="stable")[:, :5]
    assert (np.sort(first, axis=1) == np.nonzero(weight == 0)[1].reshape(200, 5)).all()


def test_std_bounds_and_boxes_are_those_of_the_weights():
    shape = (400, 500)
    weight = sparse(0.25, 0.5)(shape, "float64", seed=0)
    assert abs(weight.std() / sparse(0.25, 0.5).std(shape) - 1) < 7.13 * math.sqrt(3 / weight.size)
    assert sparse(0.25).bounds(shape) == (-math.inf, math.inf)
    index = (slice(3, 300, 7), slice(None, None, -1))
    assert (sparse(0.25, 0.5)(shape, "float64", seed=0, index=index) == weight[index]).all()


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, math.nan, math.inf])
def test_a_sparsity_out_of_range_is_an_error(sparsity):
    with pytest.raises(ValueError, match="sparsity must be"):
        sparse(sparsity)


def test_wrong_arguments_and_shapes_are_errors():
    with pytest.raises(ValueError, match="std must be at least 0, got -1"):
        sparse(0.5, -1)
    with pytest.raises(TypeError, match="sparsity must be a real number"):
        sparse("0.5")
    with pytest.raises(ValueError, match="at least 2 axes"):
        sparse(0.5)(10, seed=0)
    assert repr(sparse(0.5)) == "sparse(sparsity=0.5, std=0.01)"
    assert np.array_equal(sparse(0.5)((0, 4), seed=0), np.empty((0, 4)))


@pytest.mark.parametrize("shape", [(1024, 1024), (16, 2**16), (4, 3, 2**10, 64)])
def test_a_draw_holds_at_most_twice_the_weight(shape):
    sparse(0.5)((2, 2), seed=0)
    out = np.empty(shape, np.float32)
    tracemalloc.start()
    try:
        sparse(0.5)(shape, seed=0, out=out)
        assert tracemalloc.get_traced_memory()[1] < 2.6 * out.nbytes + 2**20
    finally:
        tracemalloc.stop()
