"""Gains found in a model of PyTorch: operations that count, and the distance of signals from 1."""

import warnings

import numpy as np
import pytest

import initlib
from initlib import normal, recipes, variance_scaling

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn import functional as F  # noqa: N812

import initlib.adapters.torch as init

WIDTH = 256


def factors_of(model, batch=(4, WIDTH)):
    """Return the factors by name."""
    return {name: rule.factor for name, rule in recipes.analytic(model, batch).items()}


class Network(nn.Module):
    """Layers, and a function that calls them."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs):
        return self.run(self, *inputs)


def linears(names, width=WIDTH):
    return {name: nn.Linear(width, width) for name in names}


def mlp(activation, depth=12):
    layers = [layer for _ in range(depth) for layer in (nn.Linear(WIDTH, WIDTH), activation())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def test_the_next_activation_gives_the_factor():
    relu = variance_scaling(2.0, "fan_in", "truncated_normal")
    assert recipes.analytic(mlp(nn.ReLU, 2), (4, WIDTH)) == {
        "0.weight": relu,
        "2.weight": relu,
        "4.weight": variance_scaling(1.0, "fan_in", "truncated_normal"),
    }
    assert factors_of(mlp(lambda: nn.LeakyReLU(0.2), 1))["0.weight"] == pytest.approx(2 / 1.04, rel=1e-5)
    assert factors_of(mlp(nn.SELU, 2)) == pytest.approx({"0.weight": 1, "2.weight": 1, "4.weight": 1}, rel=1e-5)
    # The kernel before a bounded activation gives variance 1, and the next kernel accounts for the mean square.
    bounded = factors_of(mlp(nn.Tanh, 1))
    assert bounded == pytest.approx({"0.weight": 1, "2.weight": initlib.gain("tanh") ** 2}, rel=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "silu", "mish", "softplus", "relu6", "elu"])
def test_the_activation_has_a_mean_square_of_1(activation):
    function = getattr(F, activation)
    model = Network(lambda self, x: self.b(function(self.a(x))), **linears("ab"))
    factors = factors_of(model)
    assert initlib.propagation.length_map(activation, factors["a.weight"], weight_variance=1) == pytest.approx(1, 1e-5)
    assert factors["b.weight"] == pytest.approx(1, rel=1e-5)


def test_any_function_of_one_unit_counts_as_an_activation():
    """The activation may be a module, a function or a formula."""
    written = {
        lambda x: x * torch.sigmoid(x): nn.SiLU,
        lambda x: torch.clamp(x, min=0): nn.ReLU,
        lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)): nn.GELU,
        lambda x: torch.maximum(x, torch.tensor(0.0)): nn.ReLU,
        lambda x: x.relu_(): nn.ReLU,
    }
    for function, named in written.items():
        model = Network(lambda self, x, function=function: self.b(function(self.a(x))), **linears("ab"))
        other = Network(lambda self, x: self.b(self.f(self.a(x))), f=named(), **linears("ab"))
        assert factors_of(model) == pytest.approx(factors_of(other), rel=1e-5)
    cubed = Network(lambda self, x: self.b(F.relu(self.a(x)) ** 3), **linears("ab"))
    assert factors_of(cubed)["a.weight"] == pytest.approx((1 / 7.5) ** (1 / 3), rel=1e-5)  # E relu(z)**6 = 15 / 2


def test_a_scale_in_the_model_is_kept():
    model = Network(lambda self, x: self.b(0.1 * self.a(x)), **linears("ab"))
    assert factors_of(model) == pytest.approx({"a.weight": 1, "b.weight": 100})


def test_residual_sums_share_their_variance():
    def before(self, x):
        x = self.stem(x)
        for k in range(4):
            x = x + self.drop(self.get_submodule(f"b{k}")(F.relu(self.get_submodule(f"a{k}")(x))))
        return self.head(x)

    blocks = linears([f"{letter}{k}" for k in range(4) for letter in "ab"])
    model = Network(before, drop=nn.Dropout(0.0), **linears(["stem", "head"]), **blocks)
    factors = factors_of(model)
    assert factors["stem.weight"] == 1
    assert [factors[f"b{k}.weight"] for k in range(4)] == 4 * [0.25]
    assert [factors[f"a{k}.weight"] for k in range(4)] == pytest.approx([2 / (1 + k / 4) for k in range(4)], rel=1e-5)
    assert factors["head.weight"] == 0.5


def test_sums_of_kernels_share_and_norms_restart_a_stream():
    parallel = Network(lambda self, x: self.c(F.relu(self.a(x) + self.b(x))), **linears("abc"))
    assert factors_of(parallel) == pytest.approx({"a.weight": 1, "b.weight": 1, "c.weight": 1}, rel=1e-5)
    normed = Network(
        lambda self, x: self.n(x + self.b(F.relu(self.a(self.n(x + self.c(x)))))),
        n=nn.LayerNorm(WIDTH),
        **linears("abc"),
    )
    assert factors_of(normed) == pytest.approx({"a.weight": 2, "b.weight": 1, "c.weight": 1}, rel=1e-5)


def test_products_parts_and_concatenations_are_followed():
    gated = Network(lambda self, x: self.b(F.silu(self.a(x)) * self.c(x)), **linears("abc"))
    assert factors_of(gated)["b.weight"] == pytest.approx(1, rel=1e-5)
    halves = Network(lambda self, x: self.b(F.glu(self.a(x))), a=nn.Linear(WIDTH, 2 * WIDTH), b=nn.Linear(WIDTH, 4))
    sigmoid = 1 / initlib.gain("sigmoid") ** 2
    assert factors_of(halves) == pytest.approx({"a.weight": 1, "b.weight": 1 / sigmoid}, rel=1e-4)
    cut = Network(
        lambda self, x: self.b(torch.mul(*(lambda u, v: (u, v.sigmoid()))(*self.a(x).chunk(2, -1)))),
        a=nn.Linear(WIDTH, 2 * WIDTH),
        b=nn.Linear(WIDTH, 4),
    )
    assert factors_of(cut) == pytest.approx(factors_of(halves), rel=1e-5)
    joined = Network(lambda self, x: self.b(torch.cat([x, 3 * x[:, :64]], 1)), b=nn.Linear(WIDTH + 64, 4))
    assert factors_of(joined) == pytest.approx({"b.weight": 320 / (256 + 9 * 64)}, rel=1e-5)


def test_operations_on_images_are_followed():
    """Measured: the logits of a network with pools, after convolutions whose outputs resemble one another."""
    model = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(64, 64, 2, stride=2), nn.GELU()),
        *(nn.Conv2d(64, 64, 3, padding=1, groups=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(64, 512),
    )
    rules = recipes.analytic(model, (16, 3, 32, 32))
    squares = []
    for seed in range(4):
        init.initialize(model, rules, seed=seed)
        squares.append([row.mean_square for row in init.signals(model, (16, 3, 32, 32)).activations])
    squares = np.mean(squares, axis=0)
    functions = squares[[1, 4, 6, 8]]
    assert ((functions > 0.6) & (functions < 1.2)).all()  # edges see fewer inputs; neighbours are alike, and so maxima
    assert 1 / 3 < squares[-1] < 3  # of an average over positions, whose likeness is estimated


def test_attentions_and_tables_are_followed():
    layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, norm_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    factors = factors_of(model, (10, 4, 64))
    assert {factors[f"layers.{k}.self_attn.in_proj_weight"] for k in range(3)} == {1}
    assert {factors[f"layers.{k}.{name}.weight"] for k in range(3) for name in ("self_attn.out_proj", "linear2")} == {
        0.166667
    }
    tied = nn.Sequential(nn.Embedding(50, 64), nn.LayerNorm(64), nn.Linear(64, 50))
    assert recipes.analytic(tied, torch.arange(6))["0.weight"] == normal(std=1.0)
    tied[2].weight = tied[0].weight
    assert factors_of(tied, torch.arange(6)) == pytest.approx({"0.weight": 1})
    bare = Network(
        lambda self, x: (x + self.place) @ self.w,
        w=nn.Parameter(torch.zeros(64, 8)),
        place=nn.Parameter(torch.zeros(1, 64)),
    )
    assert recipes.analytic(bare, (5, 64)) == {
        "place": normal(std=0.5**0.5),  # which is added to the input, and shares
        "w": normal(std=(0.666667 / 64) ** 0.5),
    }


def test_control_flow_shared_and_normed_weights_are_followed():
    def run(self, x):
        for _ in range(3):
            x = F.relu(self.a(x))
        return self.b(x) if x.sum() > 0 else x

    model = Network(run, a=nn.utils.parametrizations.weight_norm(nn.Linear(64, 64)), b=nn.Linear(64, 3))
    assert factors_of(model, (4, 64)) == pytest.approx({"a.weight": 2, "b.weight": 1}, rel=1e-5)
    init.initialize(model, recipes.analytic(model, (4, 64)), seed=0)


def test_a_warning_names_operations_that_are_not_followed():
    model = Network(lambda self, x: self.b(torch.cumsum(self.a(x), -1)), **linears("ab"))
    with pytest.warns(
        UserWarning, match="analytic could not follow cumsum, and assumes that these operations keep the mean square"
    ):
        assert factors_of(model) == {"a.weight": 1, "b.weight": 1}
    lstm = Network(lambda self, x: self.b(self.lstm(x)[0]), lstm=nn.LSTM(8, 8), b=nn.Linear(8, 3))
    with pytest.warns(UserWarning, match="could not follow"):
        assert list(recipes.analytic(lstm, (5, 2, 8))) == ["b.weight"]


def test_the_model_is_unchanged():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.ReLU(), nn.Linear(8, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipes.analytic(model, (6, 4))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.overrides._get_current_function_mode_stack()


def test_unsuitable_models_are_errors():
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module or a keras\.Model, got int"):
        recipes.analytic(3, (2, 4))
    with pytest.raises(ValueError, match="model must have a kernel that a signal passes through"):
        recipes.analytic(nn.ReLU(), (2, 4))
    with pytest.raises(ValueError, match=r"the input of b\.weight must have a positive mean square, got 0"):
        recipes.analytic(Network(lambda self, x: self.b(0 * self.a(x)), **linears("ab")), (2, WIDTH))
    with pytest.raises(ValueError, match="distribution must be one of"):
        recipes.analytic(nn.Linear(4, 4), (2, 4), distribution="cauchy")


# How far signals are from a variance of 1, and from a mean square of 1: the mean over activations of |log2| of it, as
# `signals` measures it over three seeds. The ends of residual branches, which are added to others, are left out. With
# AnyInit 0.4.0 in its analytic mode the same models on the same inputs gave the two numbers.


class Block(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.a, self.b, self.kind = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), kind

    def forward(self, x):
        if self.kind == "post":
            return F.relu(x + self.b(F.relu(self.a(x))))
        return x + self.b(F.relu(self.a(F.relu(x) if self.kind == "preact" else x)))


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH + 32 * k, 32) for k in range(6))
        self.out = nn.Linear(WIDTH + 32 * 6, 10)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, F.gelu(layer(x))], 1)
        return self.out(x)


def residual(kind):
    start = [nn.Linear(WIDTH, WIDTH)] + [nn.ReLU()] * (kind == "post")
    return nn.Sequential(*start, *(Block(kind) for _ in range(8)), nn.Linear(WIDTH, 10))


def convolutions():
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


VECTORS, IMAGES = (WIDTH, WIDTH), (16, 3, 16, 16)
CASES = {
    "relu": (lambda: mlp(nn.ReLU), VECTORS, (0.749, 0.58)),
    "gelu": (lambda: mlp(nn.GELU), VECTORS, (0.724, 0.637)),
    "silu": (lambda: mlp(nn.SiLU), VECTORS, (0.798, 0.786)),
    "selu": (lambda: mlp(nn.SELU), VECTORS, (0.034, 0.034)),
    "tanh": (lambda: mlp(nn.Tanh), VECTORS, (0.925, 0.924)),
    "sigmoid": (lambda: mlp(nn.Sigmoid), VECTORS, (2.849, 2.076)),
    "residual": (lambda: residual("sum"), VECTORS, (1.317, 1.175)),
    # There it makes branches all but silent, the last of a variance of 0.004; here each has 1 / 8.
    "residual, relu after": (lambda: residual("post"), VECTORS, (0.695, 0.544 + 0.12)),
    "residual, relu before": (lambda: residual("preact"), VECTORS, (0.816, 0.559)),
    "concatenated": (Dense, VECTORS, (0.698, 0.554)),
    "convolutions": (convolutions, IMAGES, (1.122, 1.098)),
}


def distance(model, batch):
    rows = init.signals(model, batch).activations
    measured = [(row.std**2, row.mean_square) for row in rows if not row.name.endswith(".b")]
    return np.abs(np.log2(measured)).mean(axis=0)


@pytest.mark.parametrize("case", CASES)
def test_at_least_as_close_to_unit_variance_as_anyinit(case):
    make, batch, peer = CASES[case]
    model = make()
    rules, distances = recipes.analytic(model, batch), []
    for seed in range(3):
        init.initialize(model, rules, seed=seed)
        distances.append(distance(model, batch))
    assert (
        np.mean(distances, axis=0) < np.add(peer, 0.01)
    ).all()  # concatenated layers have the same factors there, and other draws
