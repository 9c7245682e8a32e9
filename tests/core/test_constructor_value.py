"""Table of the fills of parameters without a rule: a record for each line, with values given by hand."""

import numpy as np
import pytest

from initlib import Parameter, PlanError, constant, he_normal, keep, normal, orthogonal, parts, plan, zeros
from initlib.plans.rules.constructor_value import ConstructorValue

STD = normal(std=0.02)
RAMP = np.arange(1, 9, dtype="float32")
NOISE = np.random.default_rng(0).normal(size=(8, 8)).astype("float32")


def given(values, **facts):
    """Return the value of a constructor that put these values in memory."""
    return ConstructorValue(read=lambda index: np.asarray(values)[index], **facts)


def parameter(constructor, shape=None, kind="other", name="block.x", **fields):
    if shape is None:
        shape = constructor.read(...).shape
    return Parameter(name, shape, kind=kind, constructor=constructor, **fields)


def weights(values, kind="kernel", axes="OI", **facts):
    return parameter(given(values, **facts), kind=kind, axes=axes)


NONE = ConstructorValue()
ADD_KEEP = 'Add the rule {"*.x": keep}  # differing values as constructed'
ANGLES = np.arange(64)[:, None] / 10000 ** (np.arange(32) / 32)
SINUSOIDS = np.concatenate([np.sin(ANGLES), np.cos(ANGLES)], 1).astype("float32")
SQUARE = np.zeros((8, 8), "float32")

# (the parameter, the default, the fill or the text of the error, the notes)
TABLE = [
    # Buffers and integers.
    (parameter(given(NOISE), kind="buffer"), STD, keep, ()),
    (parameter(given(np.arange(8)), dtype="int64"), STD, keep, ()),
    (parameter(given(NOISE), default=keep), STD, keep, ()),
    # Frozen.
    (weights(NOISE, frozen=True, draws=True), STD, 'Add the rule {"*.x": keep}  # frozen', None),
    (
        parameter(NONE.__class__(frozen=True), (8, 8)),
        STD,
        "the parameter is frozen, and its values are not all equal",
        None,
    ),
    (weights(SQUARE + 1, frozen=True), STD, constant(1), ("ones as constructed", "frozen")),
    (weights(SQUARE, frozen=True), STD, zeros, ("zeros as constructed (may be fresh memory)", "frozen")),
    # No values in memory.
    (parameter(NONE, (8,), "bias"), STD, zeros, ("zeros, without values in memory",)),
    (parameter(ConstructorValue(start=constant(1)), (8,), "scale"), STD, constant(1), ("as its class states",)),
    (parameter(ConstructorValue(start=zeros), (8, 8), axes="IO"), STD, zeros, ("as its class states",)),
    (parameter(NONE, (8,), "scale"), STD, 'Add the rule {"*.x": ones}, or another value', None),
    (parameter(ConstructorValue(hint="Build it."), (1, 1, 8)), STD, "unknown. Build it. Add the rule", None),
    (parameter(NONE, (8, 8)), STD, STD, ()),
    # Equal values.
    (parameter(given(np.float32([1e-6] * 8))), STD, constant(1e-6), ("1e-06 as constructed",)),
    (parameter(given(np.full((1, 1, 8), 0.1, "float32"))), STD, constant(0.1), ("0.1 as constructed",)),
    (weights(SQUARE + 0.5, draws=True), STD, constant(0.5), ("0.5 as constructed",)),
    (parameter(given(np.float32(2.6592))), STD, constant(2.6592), ("2.66 as constructed",)),
    (weights([[0.25]], draws=True), STD, STD, ()),
    # Zeros.
    (parameter(given(np.zeros((8, 1, 1)))), STD, zeros, ("zeros as constructed",)),
    (parameter(given(np.zeros((8, 2))), kind="bias"), STD, zeros, ("zeros as constructed",)),
    (weights(SQUARE, draws=True), STD, zeros, ("zeros as constructed",)),
    (weights(SQUARE, zeroed=True), STD, zeros, ("zeros as constructed",)),
    (weights(SQUARE, axes=None, kind="other"), STD, STD, "warns"),
    # Biases.
    (parameter(given(NOISE[0] / 4, bound=1), kind="bias"), STD, zeros, ("replaces the constructor's draw",)),
    (parameter(given(NOISE[0], draws=True), kind="bias"), STD, zeros, ("replaces the constructor's draw",)),
    (parameter(given(RAMP, bound=1), kind="bias"), STD, ADD_KEEP, None),
    (parameter(given(NOISE[0]), kind="bias"), STD, ADD_KEEP, None),
    # Vectors of differing values.
    (parameter(given(NOISE[0])), STD, ADD_KEEP, None),
    (parameter(given(NOISE[0]), kind="scale"), STD, ADD_KEEP, None),
    (parameter(given(RAMP[None, None])), STD, ADD_KEEP, None),
    (parameter(given(NOISE[None, :1], unset=True)), STD, ADD_KEEP, None),
    (parameter(given(NOISE[0], draws=True)), STD, STD, ()),
    # Tokens.
    (parameter(given(NOISE[None, :1])), STD, STD, ("drawn as a token",)),
    (parameter(given(NOISE[None, :1])), he_normal, 'Add the rule {"*.x": normal(std=0.02)} or {"*.x": keep}', None),
    # Matrices that were visibly not drawn.
    (parameter(given(NOISE[:1] + SQUARE)), STD, ADD_KEEP, None),
    (parameter(given(NOISE[:, :1] + SQUARE)), STD, ADD_KEEP, None),
    (parameter(given(np.eye(8))), STD, ADD_KEEP, None),
    (parameter(given(NOISE, unset=True)), STD, ADD_KEEP, None),
    (weights(SINUSOIDS, "table", "IO", draws=True), STD, ADD_KEEP, None),
    # Tables and recurrent kernels.
    (weights(NOISE, "table", "IO", draws=True), he_normal, STD, ()),
    (weights(NOISE, "recurrent", "(2 O)I", draws=True), he_normal, orthogonal(), ()),
    # Everything else.
    (weights(NOISE, draws=True), he_normal, he_normal, ()),
    (parameter(given(NOISE)), STD, STD, ()),
    (parameter(given(NOISE)), he_normal, 'Pass axes={"*.x": "OI"}', None),
    (parameter(given(NOISE)), None, "no rule matches, and there is no default", None),
]


@pytest.mark.parametrize(("tensor", "default", "expected", "notes"), TABLE)
def test_a_parameter_without_a_rule_gets_the_fill_of_the_table(tensor, default, expected, notes):
    if isinstance(expected, str):
        with pytest.raises(PlanError) as caught:
            plan([tensor], default=default)
        (problem,) = caught.value.problems
        assert expected in problem
        return
    if notes == "warns":
        notes = ("zeros as constructed (may be fresh memory)",)
    if "zeros as constructed (may be fresh memory)" in notes and not tensor.constructor.frozen:
        with pytest.warns(
            UserWarning, match=r"block\.x: all weights are zeros, set by a constructor or left in fresh memory"
        ):
            (entry,) = plan([tensor], default=default).entries
    else:
        (entry,) = plan([tensor], default=default).entries
    assert (entry.filling, entry.notes) == (expected, notes)


def test_a_rule_comes_before_the_table():
    frozen = weights(NOISE, frozen=True)
    assert plan([frozen], {"*": keep})["block.x"].filling is keep
    assert plan([frozen], {"*": STD})["block.x"].filling == STD


def test_a_record_replaces_memory():
    for values, kind, expected in [(RAMP * 0 + 3, "other", constant(3)), (NOISE[0] / 9, "bias", zeros)]:
        tensor = parameter(given(values, bound=1), kind=kind)
        record = tensor.constructor.record(tensor)
        assert record.read is None
        later = parameter(record, values.shape, kind)
        assert plan([later], STD)["block.x"].filling == expected
        assert record.record(later) is record
    drawn = parameter(ConstructorValue(recorded=True, draws=True), (8, 8))
    assert plan([drawn], STD)["block.x"].filling == STD
    for values, kind in [(RAMP, "bias"), (np.eye(8), "other"), (RAMP, "other")]:
        tensor = parameter(given(values, bound=1), kind=kind)
        with pytest.raises(PlanError, match="keep}  # differing values"):
            plan([parameter(tensor.constructor.record(tensor), values.shape, kind)], STD)


def test_the_table_applies_to_each_part():
    forget = np.repeat(np.float32([0, 1, 0]), 4)
    tensor = parameter(given(forget), kind="bias")
    gates = parts({"i": 1, "f": 1, "o": 1})
    (entry,) = plan([tensor], {"block.x": gates}, default=STD).entries
    assert entry.filling == parts({"i": (1, zeros), "f": (1, constant(1)), "o": (1, zeros)})
    assert entry.notes == ("zeros as constructed", "ones as constructed")
    grouped = parameter(given(np.tile(np.repeat(np.float32([2, 3]), 2), 2)))
    (entry,) = plan([grouped], {"block.x": parts({"q": 1, "k": 1}, groups=2)}, default=STD).entries
    assert entry.filling == parts({"q": (1, constant(2)), "k": (1, constant(3))}, groups=2)


def test_the_table_applies_to_each_layer_of_a_stack():
    scales = np.float32([[1] * 4, [1] * 4, [0.5] * 4])
    tensor = parameter(given(scales))
    (entry,) = plan([tensor], {"block.x": parts("{i}.x")}, default=STD).entries
    assert [piece.initializer for piece in entry.pieces] == [constant(1), constant(1), constant(0.5)]


def test_errors_are_grouped_by_the_last_component_and_propose_one_rule():
    gains = [parameter(given(NOISE[0, : 3 + k % 5]), name=f"stages.{k}.conv{k % 3}.gain") for k in range(20)]
    kernel = weights(NOISE, draws=True)
    with pytest.raises(PlanError) as caught:
        plan([*gains, kernel], STD)
    assert len(caught.value.problems) == 20
    (_, line) = str(caught.value).splitlines()
    assert line.startswith("  - stages.{0..18..3}.conv0.gain, stages.{1..19..3}.conv1.gain, ")
    assert line.endswith('Add the rule {"*.gain": keep}  # differing values as constructed')
    made = plan([*gains, kernel], {"*.gain": keep}, default=STD)
    assert made["block.x"].filling == STD


def test_a_proposed_pattern_matches_no_other_parameter():
    frozen = [parameter(given(NOISE, frozen=True), name=f"h.{k}.base.weight") for k in range(3)]
    train = [parameter(given(NOISE), name=name) for name in ("h.0.lora.weight", "weight")]
    with pytest.raises(PlanError) as caught:
        plan([*frozen, *train], STD)
    assert len(caught.value.problems) == 3
    assert all('Add the rule {"*.base.weight": keep}  # frozen' in problem for problem in caught.value.problems)


def test_a_proposed_pattern_is_that_of_the_stream():
    with pytest.raises(PlanError, match=r'new\.y: .* Add the rule {"\*\.y": keep}'):
        plan([parameter(given(RAMP))], STD, rename={"block.x": "new.y"})


def test_unmatched_parameters_can_be_kept():
    tensors = [parameter(given(RAMP), name="a"), Parameter("b", (8,), needs="it is frozen"), weights(NOISE)]
    made = plan(tensors, {"block.x": STD}, unmatched="keep")
    assert [entry.filling for entry in made.entries] == [keep, keep, STD]
    assert made["a"].notes == ("no rule matches",)
    with pytest.raises(TypeError, match="default must be None with unmatched='keep'"):
        plan(tensors, STD, unmatched="keep")
    with pytest.raises(ValueError, match='unmatched must be "default" or "keep", got 3'):
        plan(tensors, unmatched=3)


def test_large_tensors_are_not_read_where_a_corner_shows_that_they_were_drawn():
    asked = []
    values = np.random.default_rng(0).normal(size=(300, 300))

    def read(index):
        asked.append(index)
        return values[index]

    plan([parameter(ConstructorValue(read=read), values.shape)], STD)
    corner, *edges = asked
    assert corner == (slice(0, 16), slice(0, 16))
    assert len(edges) == 4
    assert all(values[edge].size <= 16 for edge in edges)


def test_the_last_row_and_column_of_a_large_matrix_are_seen():
    for edge in ((-1, slice(None)), (slice(None), -1)):
        values = np.random.default_rng(0).normal(size=(300, 300))
        values[edge] = np.where(values[edge] > 0, 2.0, -2.0)
        with pytest.raises(PlanError, match="set a matrix that no initializer draws"):
            plan([parameter(given(values), values.shape)], STD)


def test_regularities_that_begin_after_a_few_values_are_seen():
    """A few values rule out most regularities, but not those of values that begin with zeros."""
    one_hot = np.zeros((12, 12))
    one_hot[range(12), [11, 10, 9, *range(9)]] = 3.0
    for values in (one_hot, one_hot.T, np.eye(8), np.eye(8)[:5]):
        with pytest.raises(PlanError, match="set a matrix that no initializer draws"):
            plan([parameter(given(values), values.shape)], STD)


def test_a_mask_and_a_row_of_one_value_were_set():
    row = NOISE.copy()
    row[-1] = -1.0
    for values in (np.tril(np.ones((8, 8))), np.where(NOISE > 0, 1.0, -1.0), row, row.T):
        with pytest.raises(PlanError, match="set a matrix that no initializer draws"):
            plan([parameter(given(values), (8, 8))], STD)


def test_a_drawn_bias_with_rising_values_is_recorded_as_drawn():
    bias = parameter(given(RAMP / 100, draws=True, bound=0.1), kind="bias")
    assert not bias.constructor.record(bias).unset


def test_a_tensor_without_weights_needs_no_rule():
    assert plan([parameter(given(np.ones((0, 8))), (0, 8))], STD)["block.x"].filling == zeros


def test_a_plan_drops_the_values_of_constructors():
    tensor = weights(NOISE)
    entry = plan([tensor], STD)["block.x"]
    assert entry.parameter.constructor is None
    assert tensor == weights(SQUARE)


def test_rules_may_be_a_list_of_mappings_and_functions():
    tensors = [Parameter(f"h.{k}.w", (4, 4), axes="OI", kind="kernel") for k in range(3)]
    rules = [
        {"h.0.w": zeros},
        lambda parameters: {each.name: constant(each.indices[0]) for each in parameters[:2]},
        {"*:kernel": STD},
    ]
    made = plan(tensors, rules)
    assert [entry.filling for entry in made.entries] == [zeros, constant(1), STD]
    with pytest.raises(PlanError, match=r"rule 'h\.9' matches nothing"):
        plan(tensors, [{"*": zeros}, {"h.9": zeros}])
    assert plan(tensors, [("h.0.w", zeros), {"*": STD}])["h.0.w"].filling == zeros


def test_no_random_draw_counts_as_a_smooth_matrix():
    for seed in range(200):
        for scheme in (he_normal, orthogonal()):
            values = scheme((16, 16), seed=seed)
            plan([weights(values, draws=True)], STD)
