"""Names, signatures, values, warnings and errors of `torch.nn.init` in its replacement."""

import functools
import inspect
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

stats = pytest.importorskip("scipy.stats")

import torch.nn.init as torch_init

import initlib
import initlib.adapters.torch as init

PUBLIC = [name for name, value in vars(torch_init).items() if inspect.isfunction(value) and not name.startswith("_")]
DRAWS = {
    "uniform_": (-0.5, 2.0),
    "normal_": (0.5, 2.0),
    "trunc_normal_": (0.5, 2.0, -1.0, 3.0),
    "truncated_normal_": (0.5, 2.0),
    "xavier_uniform_": (1.5,),
    "xavier_normal_": (1.5,),
    "kaiming_uniform_": (0.1, "fan_out"),
    "kaiming_normal_": (0.1, "fan_out"),
    "orthogonal_": (1.5,),
    "delta_orthogonal_": (1.5,),
    "sparse_": (0.3,),
    "variance_scaling_": (2.0, "fan_avg", "uniform"),
    "he_normal_": (),
    "he_uniform_": (),
    "glorot_normal_": (),
    "glorot_uniform_": (),
    "lecun_normal_": (),
    "lecun_uniform_": (),
}
DEPRECATED = {
    "uniform": (),
    "normal": (),
    "constant": (1.0,),
    "eye": (),
    "dirac": (),
    "xavier_uniform": (),
    "xavier_normal": (),
    "kaiming_uniform": (),
    "kaiming_normal": (),
    "orthogonal": (),
    "sparse": (0.5,),
}


def empty(*shape, **options):
    return torch.full(shape, 9.0, **options)


def test_import_and_draw_load_neither_the_compiler_nor_distributed_tensors():
    program = """
import sys, torch
import initlib.adapters.torch as init
init.he_normal_(torch.empty(3, 4))
print(*(name for name in ("torch._dynamo", "torch.distributed.tensor", "ml_dtypes") if name in sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_every_public_name_of_pytorch_exists():
    assert set(PUBLIC) <= set(init.__all__)
    assert all(hasattr(init, name) for name in init.__all__)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name.endswith("_")])
def test_signatures_begin_as_those_of_pytorch(name):
    parameters, other = (inspect.signature(getattr(module, name)).parameters for module in (init, torch_init))
    assert list(parameters)[: len(other)] == list(other)
    for argument in other:
        assert parameters[argument].default == other[argument].default
        assert parameters[argument].kind == other[argument].kind
    added = set(parameters) - set(other)
    assert added <= {"axes", "seed", "name", "shape", "index", "flat"}
    assert all(parameters[argument].kind is inspect.Parameter.KEYWORD_ONLY for argument in added)


@pytest.mark.parametrize("name", [name for name in vars(torch_init) if name.startswith(("_no_grad", "_calculate"))])
def test_private_helpers_that_code_bases_import_exist(name):
    assert callable(getattr(init, name))


@pytest.mark.parametrize("name", DEPRECATED)
def test_deprecated_names_warn_and_fill(name):
    shape = (4, 4, 3) if name == "dirac" else (4, 4)
    tensor = empty(*shape)
    with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`") as seen:
        assert getattr(init, name)(tensor, *DEPRECATED[name]) is tensor
    assert seen[0].filename == __file__
    assert (tensor != 9).all()


@pytest.mark.parametrize("name", DRAWS)
def test_draws_follow_seed_generator_and_manual_seed(name):
    def fill(**options):
        tensor = empty(12, 9) if name != "sparse_" else empty(40, 9)
        assert getattr(init, name)(tensor, *DRAWS[name], **options) is tensor
        return tensor

    assert torch.equal(fill(seed=5), fill(seed=5))
    assert torch.equal(fill(seed=initlib.Key(5).fold_in("w")), fill(seed=5, name="w"))
    assert not torch.equal(fill(seed=5), fill(seed=6))
    torch.manual_seed(3)
    first, second = fill(), fill()
    torch.manual_seed(3)
    assert torch.equal(first, fill())
    assert not torch.equal(first, second)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    assert torch.equal(fill(generator=generators[0]), fill(generator=generators[1]))
    assert torch.equal(fill(generator=torch.Generator().manual_seed(3)), first)  # the words of the generator
    if name == "sparse_":
        assert not torch.equal(fill(seed=5) == 0, fill(seed=6) == 0)


@pytest.mark.parametrize(
    ("shape", "axes", "core"),
    [
        ((128, 784), None, "OI"),
        ((64, 32, 3, 3), None, "OIHW"),
        ((32, 1, 3, 3), "(32 O)IHW", "(32 O)IHW"),
        ((32, 64, 3, 3), "IOHW", "IOHW"),
        ((192, 64), "(3 O)I", "(3 O)I"),
        ((6, 5, 4), "BOI", "BOI"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_draws_equal_the_core(shape, axes, core, dtype):
    for function, initializer in [
        ("he_normal_", initlib.he_normal),
        ("kaiming_uniform_", initlib.he_uniform),
        ("xavier_uniform_", initlib.glorot_uniform),
        ("xavier_normal_", initlib.variance_scaling(1.0, "fan_avg", "normal")),
        ("normal_", initlib.normal()),
        ("orthogonal_", initlib.orthogonal()),
    ]:
        tensor = getattr(init, function)(empty(*shape, dtype=getattr(torch, dtype)), axes=axes, seed=1, name="w")
        drawn = initializer(shape, dtype, axes=core, seed=1, name="w")
        assert np.array_equal(tensor.double().numpy(), drawn.astype(np.float64)), function


def test_weights_are_the_transpose_of_those_of_the_core():
    weight = init.he_normal_(torch.empty(128, 784), seed=0)
    assert np.array_equal(weight.numpy(), initlib.he_normal((784, 128), seed=0).T)
    kernel = init.he_normal_(torch.empty(64, 32, 3, 3), seed=0)
    assert np.array_equal(kernel.numpy(), initlib.he_normal((3, 3, 32, 64), seed=0).transpose(3, 2, 0, 1))


@pytest.mark.parametrize(
    ("name", "arguments", "distribution"),
    [
        ("uniform_", (-2.0, 1.5), stats.uniform(-2.0, 3.5)),
        ("normal_", (1.0, 3.0), stats.norm(1.0, 3.0)),
        ("trunc_normal_", (), stats.truncnorm(-2, 2)),
        ("trunc_normal_", (2.0, 0.5, 1.2, 2.9), stats.truncnorm(-1.6, 1.8, 2.0, 0.5)),
        ("trunc_normal_", (0.0, 1.0, 1.0, math.inf), stats.truncnorm(1, np.inf)),
        ("xavier_uniform_", (2.0,), stats.uniform(-2 * math.sqrt(3 / 1024), 4 * math.sqrt(3 / 1024))),
        ("xavier_normal_", (2.0,), stats.norm(0, 2 / 32)),
        ("kaiming_uniform_", (0.5, "fan_out"), stats.uniform(-math.sqrt(4.8 / 1024), 2 * math.sqrt(4.8 / 1024))),
        ("kaiming_normal_", (0, "fan_in", "tanh"), stats.norm(0, 5 / 3 / 32)),
        ("kaiming_normal_", (0, "fan_in", "gelu"), stats.norm(0, 1.5335304412 / 32)),
    ],
)
def test_distributions_are_those_of_pytorch(name, arguments, distribution):
    drawn = getattr(init, name)(torch.empty(1024, 1024), *arguments, seed=11).flatten()[: 2**17].double().numpy()
    assert stats.kstest(drawn, distribution.cdf).statistic < 0.0104  # DKW at 1e-12, n = 2**17


def test_gains_are_those_of_pytorch_where_it_has_one():
    for name in ("linear", "conv1d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == torch_init.calculate_gain(name)
    for slope in (None, 0, 0.01, 10):
        assert init.calculate_gain("leaky_relu", slope) == torch_init.calculate_gain("leaky_relu", slope)
    for name in ("gelu", "silu", "elu", "mish", "identity", "softplus"):
        assert init.calculate_gain(name) == initlib.gain(name)
    assert init.calculate_gain("elu", 0.5) == initlib.gain("elu", alpha=0.5)
    assert init.calculate_gain("gelu", 0.5) == initlib.gain("gelu")  # a parameter without use is ignored, as in PyTorch
    for slope in (True, [1], {"a": "b"}):
        with pytest.raises(ValueError, match="not a valid number"):
            init.calculate_gain("leaky_relu", slope)
    for name in ("xy", "qwert", "conv4d"):
        with pytest.raises(ValueError, match=f"Unsupported nonlinearity {name}"):
            init.calculate_gain(name)


FUNCTIONS = {
    "tanh": torch.tanh,
    "softsign": torch.nn.functional.softsign,
    "gelu": torch.nn.functional.gelu,
    "mish": torch.nn.Mish(),
    "prelu": torch.nn.PReLU(),
    "leaky_relu": functools.partial(torch.nn.functional.leaky_relu, negative_slope=0.01),
    "silu": lambda z: z * torch.sigmoid(z),
    "softplus": lambda z: np.logaddexp(0, z),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_modules_of_pytorch_have_gains(name):
    function = FUNCTIONS[name]
    for backward in (False, True):
        expected = initlib.gain(name, backward=backward)
        assert initlib.gain(function, backward=backward) == pytest.approx(expected, rel=1e-9)
    assert init.calculate_gain(function) == pytest.approx(initlib.gain(name), rel=1e-9)
    drawn = init.kaiming_normal_(torch.empty(512, 256), nonlinearity=function, seed=0)
    assert drawn.std().item() * 16 == pytest.approx(initlib.gain(name), rel=0.02)


def test_a_module_whose_gain_is_computed_stays_as_it_is():
    module = torch.nn.PReLU()
    initlib.gain(module)
    assert module.training
    assert module.weight.dtype is torch.float32


@pytest.mark.parametrize("name", ["constant_", "ones_", "zeros_", "eye_", "dirac_"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool", "complex64"])
def test_constants_equal_those_of_pytorch(name, dtype):
    shapes = {"eye_": [(3, 5), (5, 3), (0, 2)], "dirac_": [(6, 2, 3), (3, 6, 4, 2), (6, 1, 1, 2, 3)]}
    for shape in shapes.get(name, [(3, 5), (), (0,), (2, 1, 3)]):
        for options in [{"groups": 1}, {"groups": 3}] if name == "dirac_" else [{}]:
            arguments = (2.0,) if name == "constant_" else ()
            tensors = [torch.ones(shape, dtype=getattr(torch, dtype)) for _ in range(2)]
            for module, tensor in zip((init, torch_init), tensors, strict=True):
                assert getattr(module, name)(tensor, *arguments, **options) is tensor
            assert torch.equal(*tensors)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (20, 2, 3, 4), (2, 3, 4, 5)])
def test_rows_or_columns_are_orthogonal(shape):
    matrix = init.orthogonal_(torch.empty(shape), 1.7).flatten(1)
    square = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    assert torch.allclose(square, torch.eye(len(square)) * 1.7**2, atol=1e-6)


def test_sparse_sets_a_fraction_of_each_column_to_zero():
    tensor = init.sparse_(torch.empty(37, 50), 0.3, std=0.2)
    assert ((tensor == 0).sum(dim=0) == math.ceil(0.3 * 37)).all()


@pytest.mark.parametrize("shape", [(), (5,)])
@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"])
def test_fans_need_two_dimensions(name, shape):
    for module in (init, torch_init):
        with pytest.raises(ValueError, match="can not be computed for tensor with fewer than 2 dimensions"):
            getattr(module, name)(torch.empty(shape))


@pytest.mark.parametrize(
    ("name", "shape", "arguments", "error", "message"),
    [
        ("eye_", (3,), (), ValueError, "Only tensors with 2 dimensions are supported"),
        ("sparse_", (3, 3, 3), (0.1,), ValueError, "Only tensors with 2 dimensions are supported"),
        ("dirac_", (3, 3), (), ValueError, "Only tensors with 3, 4, or 5 dimensions are supported"),
        ("dirac_", (5, 3, 3), (2,), ValueError, "dim 0 must be divisible by groups"),
        ("orthogonal_", (3,), (), ValueError, "Only tensors with 2 or more dimensions are supported"),
        ("kaiming_normal_", (3, 3), (0, "fan_both"), ValueError, "Mode fan_both not supported, please use one of"),
        ("kaiming_normal_", (3, 3), (True,), ValueError, "negative_slope True not a valid number"),
        ("kaiming_normal_", (3, 3), ([1],), ValueError, r"negative_slope \[1\] not a valid number"),
        ("uniform_", (3, 3), (2.0, 1.0), RuntimeError, "uniform_ expects to return"),
        ("normal_", (3, 3), (0.0, -1.0), RuntimeError, "normal expects std >= 0.0, but found std -1"),
    ],
)
def test_errors_are_those_of_pytorch(name, shape, arguments, error, message):
    for module in (init, torch_init):
        tensor = empty(*shape)
        with pytest.raises(error, match=message):
            getattr(module, name)(tensor, *arguments)
        assert (tensor == 9).all()


@pytest.mark.parametrize(
    ("arguments", "std"),
    [
        ((None,), math.sqrt(2 / 1.0001 / 256)),  # PyTorch's own slope
        ((None, "fan_in", "relu"), math.sqrt(2 / 256)),
        ((0.5, "FAN_IN", "relu"), math.sqrt(2 / 256)),
        ((0.5, "fan_in", lambda z: 2 * z), 1 / 2 / 16),
    ],
)
def test_the_slope_matters_only_for_leaky_relu(arguments, std):
    for name in ("kaiming_uniform_", "kaiming_normal_"):
        drawn = getattr(init, name)(torch.empty(256, 256), *arguments, seed=0)
        assert float(drawn.std()) == pytest.approx(std, rel=0.02)


def test_warnings_are_those_of_pytorch():
    for module in (init, torch_init):
        for name in ("kaiming_uniform_", "kaiming_normal_"):
            tensor = torch.empty(0, 1)
            with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op") as seen:
                assert getattr(module, name)(tensor) is tensor
        with pytest.warns(UserWarning, match=r"mean is more than 2 std from \[a, b\]"):
            module.trunc_normal_(torch.empty(3), 0.0, 1.0, 2.5, 3.0)
        assert module is torch_init or seen[0].filename == __file__


def test_the_default_axes_are_outputs_then_inputs():
    assert torch.equal(init.normal_(empty(3, 5), seed=0), init.normal_(empty(3, 5), seed=0, axes="OI"))
    assert torch.equal(init.normal_(empty(3, 5), seed=0).T, init.normal_(empty(5, 3), seed=0, axes="IO"))


def test_all_arguments_can_be_keywords():
    tensor = empty(3, 5)
    assert init.uniform_(tensor=tensor, a=0.0, b=1.0, generator=None) is tensor
    assert init.fill_(tensor=tensor, initializer=initlib.he_normal) is tensor


@pytest.mark.parametrize("name", ["uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_"])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_weights_have_the_distribution_of_pytorch(name, dtype):
    torch.manual_seed(0)
    weight, other = (
        getattr(module, name)(empty(512, 512, dtype=getattr(torch, dtype))) for module in (init, torch_init)
    )
    for part in (torch.real, torch.imag):
        assert torch.allclose(part(weight).std(), part(other).std(), rtol=0.02)
    assert abs(torch.corrcoef(torch.stack([weight.real.flatten(), weight.imag.flatten()]))[0, 1]) < 0.014
    assert torch.equal(*(getattr(init, name)(empty(5, 3, dtype=torch.complex64), seed=1) for _ in range(2)))


def test_complex_weights_are_those_of_the_core():
    weight = init.he_normal_(empty(3, 5, dtype=torch.complex64), seed=0)
    assert np.array_equal(weight.numpy(), initlib.he_normal((3, 5), "complex64", axes="OI", seed=0))
    normal = init.normal_(empty(3, 5, dtype=torch.complex64), seed=0)
    assert np.array_equal(normal.numpy(), initlib.normal()((3, 5), "complex64", axes="OI", seed=0))
    with pytest.raises(ValueError, match="dtype of truncated_normal must be real, got complex64"):
        init.trunc_normal_(empty(3, 3, dtype=torch.complex64))
