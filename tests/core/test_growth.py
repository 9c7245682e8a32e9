"""Recipes that start a larger model from old weights: plans, boxes, JSON and errors."""

import re

import numpy as np
import pytest
from checkpoints import save

from initlib import Parameter, Plan, PlanError, constant, normal, ones, plan, recipes


@pytest.fixture
def dense(tmp_path):
    rng = np.random.default_rng(0)
    sizes = {"up.weight": (12, 8), "down.weight": (8, 12), "table": (20, 8), "layers.0.w": (8, 8), "layers.1.w": (8, 8)}
    arrays = {name: rng.normal(size=size).astype("float32") for name, size in sizes.items()}
    return save(tmp_path / "m", arrays)


def grown(dense):
    parameters = [
        Parameter("experts.up", (3, 12, 8)),
        Parameter("experts.down", (3, 8, 12)),
        Parameter("experts.7.down.weight", (8, 12)),
        Parameter("table", (90, 8), kind="table"),
        Parameter("fine", (30, 8), "bfloat16", kind="table"),
    ]
    down = {"experts.down": "down.weight", "experts.*.down.weight": "down.weight"}
    fine = recipes.grow_vocabulary(dense, "table", covariance=True)["table"]
    rules = {
        **recipes.upcycle(dense, {"experts.up": "up.weight"}, down, redrawn=0.4, seed=3),
        **recipes.grow_vocabulary(dense, "table", rows=15, spread=0.5),
        "fine": lambda parameter: fine(Parameter("table", parameter.shape)),
    }
    return plan(parameters, rules)


def test_boxes_of_grown_weights_are_boxes_of_the_full_weights(dense):
    made = grown(dense)
    weights = made.draw(seed=5)
    rng = np.random.default_rng(1)
    for name, full in weights.items():
        for _ in range(20):
            index = tuple(
                int(rng.integers(size))
                if rng.random() < 0.3
                else slice(*sorted(rng.integers(size + 1, size=2).tolist()))
                for size in full.shape
            )
            np.testing.assert_array_equal(made.draw_one(name, 5, index), full[index])


def test_grown_weights_travel_as_json(dense, tmp_path):
    made = grown(dense)
    made.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json", sources={str(dense): dense})
    assert again == made
    for name, weight in made.draw(seed=2).items():
        np.testing.assert_array_equal(again.draw(seed=2)[name], weight)
    files = tmp_path / "files"
    made.write(files, seed=2)
    assert not again.verify(files, seed=2, whole=True)
    assert again.verify(files, seed=3)


def test_the_table_names_the_old_weights(dense):
    text = str(grown(dense))
    assert 'rows like loaded("m", "table")' in text
    assert 'loaded("m", "up.weight"), 40% redrawn' in text


def test_all_or_no_hidden_units_may_be_redrawn(dense):
    expert = [Parameter("expert.w", (12, 8))]
    old = plan(expert, recipes.upcycle(dense, {"expert.w": "up.weight"}, {})).draw(0)["expert.w"]
    new = plan(expert, recipes.upcycle(dense, {"expert.w": "up.weight"}, {}, redrawn=1)).draw(0)["expert.w"]
    assert not (old == new).any()
    assert abs(new.mean() - old.mean()) < 5 * old.std() / 96**0.5


def test_copies_with_noise_differ(dense):
    made = plan([Parameter("w", (3, 12, 8))], recipes.upcycle(dense, {"w": "up.weight"}, {}, noise=normal(std=0.01)))
    one, two, _ = made.draw(0)["w"]
    assert (one != two).any()
    assert np.abs(one - two).max() < 0.1


def test_a_table_without_new_rows_is_loaded(dense):
    made = plan([Parameter("table", (20, 8), kind="table")], recipes.grow_vocabulary(dense, "table"))
    assert repr(made["table"].filling).startswith("loaded(")


@pytest.mark.parametrize(
    ("rules", "parameter", "text"),
    [
        (lambda old: recipes.grow_vocabulary(old, "table"), Parameter("table", (10, 8)), "at least the 20 rows"),
        (
            lambda old: recipes.grow_vocabulary(old, "tabel"),
            Parameter("tabel", (30, 8)),
            "the source must hold 'tabel'",
        ),
        (lambda old: recipes.grow_vocabulary(old, "head"), Parameter("table", (30, 8)), "finds no tables"),
        (lambda old: recipes.grow_vocabulary(old, "table"), Parameter("table", (30, 9)), "shape"),
        (lambda old: recipes.grow_width(old), Parameter("up.weight", (13, 8), axes="OI"), "must be a multiple of"),
        (lambda old: recipes.grow_width(old), Parameter("up.weight", (24, 16)), "the axes are unknown"),
        (lambda old: recipes.grow_width(old), Parameter("up", (24, 16)), "the source must hold 'up'"),
        (
            lambda old: recipes.grow_depth(old, 4),
            Parameter("layers.4.w", (8, 8)),
            "layers must be the number of layers",
        ),
        (lambda old: recipes.upcycle(old, {"w": "up"}, {}), Parameter("w", (2, 12, 8)), "the source must hold 'up'"),
        (lambda old: recipes.input_channels(old, "up.weight", axis=5), Parameter("up.weight", (12, 1)), "axis must be"),
        (
            lambda old: recipes.input_channels(old, "up.weight"),
            Parameter("up.weight", (12, 0)),
            "must have input channels",
        ),
        (lambda old: recipes.grow_vocabulary(old, "table"), Parameter("table", ()), "the table must have rows"),
        (
            lambda old: recipes.grow_vocabulary({"w": np.ones(())}, "w"),
            Parameter("w", (3,)),
            "the table must have rows",
        ),
        (
            lambda old: recipes.grow_vocabulary({"w": np.ones((0, 2))}, "w"),
            Parameter("w", (3, 2)),
            "from 1 to the 0 rows",
        ),
        (
            lambda old: recipes.grow_vocabulary(old, "table", rows=21),
            Parameter("table", (30, 8)),
            "from 1 to the 20 rows",
        ),
        (lambda old: recipes.grow_vocabulary({"w": [1, 2]}, "w"), Parameter("w", (3,)), "must hold an array under 'w'"),
        (lambda old: recipes.grow_width(old), Parameter("up.weight", (0, 8), axes="OI"), "must be a multiple of"),
        (
            lambda old: recipes.grow_width(old),
            Parameter("up.weight", (60, 8), axes="(5 O)I"),
            "divisible by the numbers of packed weights",
        ),
        (lambda old: recipes.upcycle(old, {"w": "up.weight"}, {}), Parameter("w", (8,)), "one additional first axis"),
        (lambda old: recipes.upcycle(old, {"w": "up.weight"}, {}), Parameter("w", ()), "one additional first axis"),
        (
            lambda old: recipes.upcycle(old, {"w": "up.weight"}, {}),
            Parameter("w", (0, 12, 8)),
            "one additional first axis",
        ),
        (lambda old: recipes.upcycle(old, {"w": "up.weight"}, {}), Parameter("w", (3, 8, 12)), "must have shape"),
        (lambda old: recipes.upcycle(old, {"w": "*.weight"}, {}), Parameter("w", (3, 12, 8)), "must have no more [*]"),
    ],
)
def test_models_that_do_not_fit_are_errors(dense, rules, parameter, text):
    with pytest.raises(PlanError, match=text):
        plan([parameter], rules(dense))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda old: recipes.grow_vocabulary(old, "t", rows=0), "rows must be"),
        (lambda old: recipes.grow_vocabulary(old, "t", spread=-1), "spread must be"),
        (lambda old: recipes.grow_depth(old, 1), "layers must be at least 2"),
        (lambda old: recipes.grow_depth(old, 7, scheme="expand", outputs=["*.w"]), "must be 2 plus a divisor of 2"),
        (lambda old: recipes.grow_depth(old, 4, scheme="expand"), "outputs must match a parameter of a layer"),
        (lambda old: recipes.grow_depth(old, 3, scheme="overlap"), "must be even"),
        (lambda old: recipes.grow_depth(old, 4, scheme="twice"), "scheme must be"),
        (lambda old: recipes.grow_depth(old, 4, module="h"), "module must be"),
        (lambda old: recipes.upcycle(old, {}, {}, redrawn=2), "redrawn must be from 0 to 1"),
        (lambda old: recipes.upcycle(old, {}, {}, redrawn=0.5, noise=normal()), "noise must be None"),
        (lambda old: recipes.upcycle(old, {}, {}, noise=0.1), "noise must be an initializer"),
        (lambda old: recipes.input_channels(old, "w", mode="max"), "mode must be"),
        (lambda old: recipes.grow_width(old / "missing"), "missing"),
        (lambda old: recipes.upcycle(old, "up", {}), "up must be a mapping"),
        (lambda old: recipes.upcycle(old, {}, None), "down must be a mapping"),
        (lambda old: recipes.upcycle(old, {"w": 3}, {}), "up must have names of dense weights"),
        (lambda old: recipes.upcycle(old, {"w": ()}, {}), "up must have names of dense weights"),
        (lambda old: recipes.upcycle(old, {3: "w"}, {}), "experts must have globs"),
        (lambda old: recipes.upcycle(old, {}, {}, axis=-1), "axis must be at least 0 and below 2"),
        (lambda old: recipes.upcycle(old, {}, {}, axis="0"), "axis must be an int"),
        (lambda old: recipes.upcycle(old, {}, {}, seed=2**64), "seed must be at least 0 and below"),
        (lambda old: recipes.grow_vocabulary(old, None), "tables must be a pattern or a list"),
        (lambda old: recipes.grow_vocabulary(old, []), "tables must have at least one pattern"),
        (lambda old: recipes.grow_vocabulary(old, ""), "a pattern of tables must be a glob"),
        (lambda old: recipes.grow_depth(old, 4, module=3), "module must be a string"),
        (lambda old: recipes.grow_depth({"w": np.ones(9)}, 4), "holds the layers in <1 arrays>, got 'layers'"),
        (lambda old: recipes.grow_depth(old, 4, scheme="expand", outputs=None), "outputs must be a pattern or a list"),
        (lambda old: recipes.grow_depth(old, 4, scheme="expand", outputs=[]), "outputs must have at least one pattern"),
        (lambda old: recipes.input_channels(old, "w", axis="1"), "axis must be an int"),
        (lambda old: recipes.input_channels(old, None), "patterns must be a pattern or a list"),
    ],
)
def test_wrong_arguments_are_errors(dense, call, text):
    with pytest.raises((ValueError, TypeError, OSError), match=text):
        call(dense)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.filterwarnings("error")
def test_weights_like_old_weights_that_are_not_finite_are_errors(bad):
    array = np.ones((12, 8))
    array[3, 2] = bad
    cases = [(30, recipes.grow_vocabulary({"w": array}, "w", covariance=each)) for each in (False, True)]
    for rows, rules in [*cases, (12, recipes.upcycle({"w": array}, {"w": "w"}, {}, redrawn=1))]:
        made = plan([Parameter("w", (rows, 8), "float64")], rules)
        with pytest.raises(ValueError, match="must be finite to draw weights like it"):
            made.draw(0)


def test_no_weights_are_drawn_like_complex_ones():
    old = {"w": np.ones((12, 8), "complex64")}
    for shape, rules in (
        ((30, 8), recipes.grow_vocabulary(old, "w")),
        ((30, 8), recipes.grow_vocabulary(old, "w", covariance=True)),
        ((3, 12, 8), recipes.upcycle(old, {"w": "w"}, {}, redrawn=0.5)),
    ):
        with pytest.raises(PlanError, match="must be real to draw weights like it, got complex64"):
            plan([Parameter("w", shape, "complex64")], rules)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_with_covariance_do_not_depend_on_the_box(dtype):
    old = {"w": np.random.default_rng(0).normal(size=(40, 33)).astype(dtype)}
    made = plan([Parameter("w", (300, 33), dtype)], recipes.grow_vocabulary(old, "w", covariance=True))
    full = made.draw(0)["w"]
    rng = np.random.default_rng(1)
    for _ in range(30):
        start, stop = sorted(rng.integers(40, 301, size=2).tolist())
        rows = slice(start, stop, int(rng.integers(1, 4)))
        for index in (rows, (rows, slice(3, 9)), (start % 300, slice(None, None, -2)), (rows, 5)):
            np.testing.assert_array_equal(made.draw_one("w", 0, index), full[index])


def test_an_expert_without_a_star_in_its_pattern_travels_as_json(dense):
    made = plan([Parameter("expert", (12, 8))], recipes.upcycle(dense, {"expert": "up.weight"}, {}, redrawn=0.5))
    assert Plan.from_json(made.to_json()) == made


def test_a_share_of_less_than_one_hidden_unit_redraws_none(dense, tmp_path):
    made = plan([Parameter("w", (2, 12, 8))], recipes.upcycle(dense, {"w": "up.weight"}, {}, redrawn=0.01))
    made.write(tmp_path / "files", seed=0)
    assert not made.verify(tmp_path / "files", seed=0)


@pytest.mark.parametrize("pattern", ["*.up:kernel", re.compile(r"(.*)\.up")])
def test_experts_may_have_any_pattern_of_rules(dense, pattern):
    expert = [Parameter("experts.3.up", (12, 8), kind="kernel", axes="OI")]
    made = plan(expert, recipes.upcycle(dense, {pattern: "up.weight"}, {}, redrawn=0.5))
    usual = plan(expert, recipes.upcycle(dense, {"*.up": "up.weight"}, {}, redrawn=0.5))
    np.testing.assert_array_equal(made.draw(0)["experts.3.up"], usual.draw(0)["experts.3.up"])


def test_a_number_of_layers_costs_no_memory(dense):
    rules = recipes.grow_depth(dense, 10**12)
    last = [Parameter(f"layers.{10**8 + 1}.w", (8, 8))]
    assert repr(plan(last, rules).entries[0].filling).endswith('"layers.1.w")')


@pytest.mark.parametrize("names", [("wte", "head"), ("head", "wte")])
@pytest.mark.parametrize("stored", [["wte"], ["head"], ["wte", "head"]])
def test_tied_tables_are_read_under_any_of_their_names(names, stored):
    old = {name: np.ones((6, 4), "float32") for name in stored}
    for shape, rules in (((8, 4), recipes.grow_vocabulary(old, ["wte", "head"])), ((6, 8), recipes.grow_width(old))):
        tied = Parameter(names[0], shape, axes="BO", tied=names[1:])
        assert plan([tied], rules).draw(0)[names[0]][:6].all()


def test_a_tied_table_does_not_grow_in_width():
    old = {"wte": np.ones((6, 4), "float32")}
    tied = Parameter("wte", (6, 8), axes="BO", kind="table", tied=("head",))
    with pytest.raises(PlanError, match=r"wte: a tied table \('wte', 'head'\) must have the shape \(6, 4\) .* Untie"):
        plan([tied], recipes.grow_width(old))
    unchanged = Parameter("wte", (6, 4), axes="BO", kind="table", tied=("head",))
    assert plan([unchanged], recipes.grow_width(old)).draw(0)["wte"].all()
    rules = {"wte": ones, "head": ones, **recipes.grow_width(old | {"w": np.ones(3)})}  # rules of the user come first
    own = plan([tied, Parameter("w", (3,))], rules)
    assert own["wte"].filling == ones


@pytest.mark.parametrize("padding", [20, 24, 29])
def test_a_new_padding_row_is_zero(dense, padding):
    table = plan([Parameter("table", (30, 8), padding=padding)], recipes.grow_vocabulary(dense, "table")).draw(0)[
        "table"
    ]
    assert np.flatnonzero(~table.any(axis=1)).tolist() == [padding]
    assert len(np.unique(table, axis=0)) == 30


def test_an_output_may_be_one_pattern(dense):
    deep = [Parameter(f"layers.{i}.w", (8, 8)) for i in range(4)]
    weights = plan(deep, recipes.grow_depth(dense, 4, scheme="expand", outputs="*.w")).draw(0)
    assert [bool(weight.any()) for weight in weights.values()] == [True, False, True, False]


def test_new_weights_cannot_be_added_to_others(dense):
    rows = recipes.grow_vocabulary(dense, "table")["table"](Parameter("table", (30, 8))).fillings[1]
    with pytest.raises(TypeError, match="unsupported operand"):
        rows + constant(1.0)
