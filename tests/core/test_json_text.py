"""Plans as JSON: a saved plan loads as it was, and a text that no plan wrote is an error."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import initlib
from initlib import (
    Initializer,
    Parameter,
    Plan,
    PlanError,
    constant,
    glorot_uniform,
    he_normal,
    icnr,
    keep,
    normal,
    orthogonal,
    parts,
    plan,
    values,
)
from initlib.schemes.factories import FACTORIES

ARGUMENTS = {
    "icnr": {"initializer": he_normal, "upscale": 2},
    "scaled": {"initializer": he_normal, "factor": 0.3},
    "sparse": {"sparsity": 0.5},
    "two_parts": {"each": he_normal},
    "log_uniform": {"low": 0.001, "high": 0.1},
    "logarithm": {"initializer": initlib.uniform(1.0, 16.0)},
    "inverse_softplus": {"initializer": initlib.uniform(0.001, 0.1)},
}


SHAPES = {"sinusoidal": (6, 4), "rotary_frequencies": (8,), "alibi_slopes": (6,)}


def model():
    return [
        Parameter("embed.weight", (20, 8), "bfloat16", kind="table", padding=0, tied=("head.weight",)),
        Parameter("h.0.qkv", (16, 8), axes="OI", kind="kernel", owner="Linear", default=constant(3)),
        Parameter("h.0.experts", (4, 8, 6), axes="BIO", kind="kernel"),
        Parameter("h.0.bias", (8,), "float16", kind="bias"),
        Parameter("positions", (4, 2)),
        Parameter("größe", (), "float64"),
        Parameter("ids", (4,), "int64", kind="buffer"),
    ]


RULES = {
    "layers.0.qkv": parts({"q": 2, "k": (1, keep), "v": (1, values(np.ones((4, 8), "float16")))}, he_normal),
    "*.experts": parts(
        "experts.{i}", lambda p: parts({"a": 1, "b": 1}, normal(std=1 / (1 + p.indices[1])), axis=1, replaces=0)
    ),
    "positions": values(np.linspace(-1, 1, 8).reshape(4, 2) / 3),
    "größe": constant(0.1),
}


def example():
    return plan(model(), RULES, default=he_normal, rename={"h.*": "layers.*"})


def test_a_saved_plan_is_loaded_as_it_was(tmp_path):
    made = example()
    text = made.to_json()
    assert json.loads(text)["version"] == 1
    assert Plan.from_json(text) == made
    assert Plan.from_json(text).to_json() == text
    made.save(tmp_path / "plan.json")
    loaded = Plan.load(str(tmp_path / "plan.json"))
    assert loaded == made
    box = loaded.draw_one("h.0.experts", 5, index=2)
    assert np.array_equal(box, made.draw_one("h.0.experts", 5)[2])


def test_a_saved_plan_has_a_line_for_each_parameter():
    lines = example().to_json().splitlines()
    assert lines[:3] == ["{", '"format": "initlib plan",', '"version": 1,']
    assert '{"name": "ids", "shape": [4], "dtype": "int64", "kind": "buffer", "filling": 6}' in lines


@pytest.mark.parametrize("name", sorted(FACTORIES))
def test_every_factory_can_be_saved(name):
    initializer = FACTORIES[name](**ARGUMENTS.get(name, {}))
    shape = SHAPES.get(name, (8, 4, 3))
    parameter = Parameter("w", shape, axes="OIK" if len(shape) == 3 else None)
    made = plan([parameter], {"w": keep} if name == "identity" else {"w": initializer})
    assert Plan.from_json(made.to_json()) == made


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["float16", "float32", "float64"]))
def test_numbers_are_exact(number, dtype):
    with np.errstate(over="ignore"):
        array = np.array([number, -number, 1e-45, 0.0, -0.0, np.inf]).astype(dtype)
    parameters = [Parameter("v", (6,), dtype), Parameter("c", (2,), "float64")]
    made = plan(parameters, {"v": values(array), "c": constant(number)})
    loaded = Plan.from_json(made.to_json())
    assert loaded == made
    assert loaded["c"].filling.value == number


def test_an_initializer_of_the_user_cannot_be_saved(tmp_path):
    class Mine(Initializer):
        factory = "mine"

        def get_config(self):
            return {}

        def std(self, shape, axes=None):
            return 0.0

        def bounds(self, shape, axes=None):
            return 0.0, 0.0

        def weights(self, weight, engine):
            return np.full(weight.out_shape, 7.0)

    Mine.__repr__ = lambda self: "mine()"
    made = plan([Parameter("w", (3, 2))], Mine())
    assert (made.draw(0)["w"] == 7).all()
    path = tmp_path / "plan.json"
    path.write_text("before")
    with pytest.raises(ValueError, match="initializers of a saved plan must be initlib's own, got mine"):
        made.save(path)
    assert path.read_text() == "before"


def test_repeated_layers_take_little_text():
    layers = [
        Parameter(f"layers.{i}.{name}.weight", shape, "bfloat16", "OI", "kernel", "Linear")
        for i in range(80)
        for name, shape in (
            ("attention.wq", (8192, 8192)),
            ("attention.wk", (1024, 8192)),
            ("attention.wv", (1024, 8192)),
            ("attention.wo", (8192, 8192)),
            ("feed_forward.w1", (28672, 8192)),
            ("feed_forward.w2", (8192, 28672)),
            ("feed_forward.w3", (28672, 8192)),
            ("attention_norm", (8192, 1)),
            ("ffn_norm", (8192, 1)),
        )
    ]
    assert len(plan(layers, glorot_uniform).to_json()) < 200_000


def changed(change):
    """Return the text of the example after a change of its document."""
    document = json.loads(example().to_json())
    change(document)
    return json.dumps(document)


def put(*path_and_value):
    """Return a change that puts a value at a path of keys."""
    *path, last, value = path_and_value

    def change(document):
        for key in path:
            document = document[key]
        document[last] = value

    return changed(change)


def filled(filling, axes=None):
    """Return a plan of one parameter with a filling as JSON."""
    more = {} if axes is None else {"axes": axes}
    document = {
        "format": "initlib plan",
        "version": 1,
        "fillings": [filling],
        "parameters": [{"name": "w", "shape": [8, 4], "filling": 0, **more}],
    }
    return json.dumps(document)


def normal_of(**arguments):
    return {"factory": "normal", "arguments": arguments}


def nested(levels):
    filling = normal_of()
    for _ in range(levels):
        filling = {"factory": "scaled", "arguments": {"initializer": filling, "factor": 0.5}}
    return filling


HOSTILE = [
    ("", "text must be the JSON of a plan: "),
    ("[", "text must be the JSON of a plan: "),
    ("[]", "the text must be a JSON object, got a list"),
    ("{}", "text must have the format 'initlib plan', got {}"),
    ("[" * 100_000, "nested too deeply"),
    ('{"format": "initlib plan", "format": "other"}', "an object has the name 'format' twice"),
    ('{"format": NaN}', "NaN is not a JSON number"),
    ('{"format": ' + "9" * 5000 + "}", "text must be the JSON of a plan: "),
    ('{"format": "initlib plan"}', "text must have version 1 to be read here, got None"),
    (put("version", 2), "text must have version 1 to be read here, got 2"),
    (put("version", True), "version must be of type int, got True"),
    (put("version", "1"), "to be read here, got '1'"),
    (put("more", 2), "the object must have the fields format, version, fillings, parameters, sources, got"),
    (put("parameters", {}), "parameters must be of type list, got {}"),
    (put("fillings", []), "parameter 0 of the plan: filling must be the index of one of 0 fillings, got 0"),
    (put("parameters", 0, 3), "parameter 0 of the plan: the value must be an object, got 3"),
    (put("parameters", 0, "filling", -1), "filling must be the index of one of 7 fillings, got -1"),
    (put("parameters", 0, "filling", 10**30), "filling must be the index of one of 7"),
    (put("parameters", 0, "filling", True), "filling must be of type int, got True"),
    (put("parameters", 0, "filling", 0.0), "filling must be of type int, got 0.0"),
    (put("parameters", 0, "name", 3), "name must be of type str, got 3"),
    (put("parameters", 0, "name", ""), "must be a printable string"),
    (put("parameters", 0, "name", "h.0.qkv"), "h.0.qkv: another parameter has the name 'h.0.qkv' too"),
    (put("parameters", 0, "stream", "layers.0.bias"), "would share the stream 'layers.0.bias'"),
    (put("parameters", 0, "stream", "a\u0000"), "stream must be a printable string"),
    (put("parameters", 0, "shape", 3), "shape must be of type list, got 3"),
    (put("parameters", 0, "shape", [True, 2]), "shape must be made of int, got True"),
    (put("parameters", 0, "shape", [2**63, 2**63]), "shape must hold fewer than 2**64 weights"),
    (put("parameters", 0, "shape", [-1, 3]), "shape must have no negative size"),
    (put("parameters", 0, "shape", [1] * 10_000), "shape must have at most 64 axes, got 10000"),
    (put("parameters", 0, "dtype", "object!"), "dtype must be a name such as 'float32', got 'object!'"),
    (put("parameters", 0, "dtype", "object"), "to be drawn, got object"),
    (put("parameters", 0, "axes", "(" * 10_000), "axes must have at most 1024 characters"),
    (put("parameters", 0, "axes", "OIH"), "axes must name 2 axes for shape"),
    (put("parameters", 0, "kind", "code"), "kind must be one of"),
    (put("parameters", 0, "default", 3), "the object must have the fields name, shape, filling, dtype"),
    (put("parameters", 0, "tied", ["a", 3]), "tied must be a string, got 3"),
    (put("parameters", 0, "padding", 20), "padding must be at least 0 and below 20, got 20"),
    (put("parameters", 0, "notes", ["\x1b[31m"]), "a note must be a printable string"),
    (put("fillings", 0, {"factory": "os.system", "arguments": {}}), "filling 0 of the plan: factory must be one of"),
    (put("fillings", 0, {"factory": "Initializer", "arguments": {}}), "factory must be one of"),
    (put("fillings", 0, {"factory": "he_normal", "arguments": {}}), "factory must be one of"),
    (put("fillings", 0, None), "filling 0 of the plan: the value must be an object, got None"),
    (put("fillings", 0, "run"), "filling 0 of the plan: the value must be an object, got 'run'"),
    (
        filled(normal_of(std="0.02")),
        "filling 0 of the plan: normal cannot be made of {'std': '0.02'}: std must be a real",
    ),
    (filled(normal_of(std=-1)), "std must be at least 0, got -1.0"),
    (filled(normal_of(std=10**400)), "filling 0 of the plan"),
    (filled(normal_of(std=[1])), "normal cannot be made of {'std': [1]}"),
    (filled(normal_of(out="x")), "normal cannot be made of {'out': 'x'}"),
    (filled(normal_of(std={"factory": "normal", "arguments": {}})), "normal cannot be made of"),
    (filled(nested(17)), "nested at most 16 deep"),
    (
        filled({"factory": "icnr", "arguments": {"initializer": normal_of(), "upscale": 10**30}}, "OI"),
        "cannot fill shape",
    ),
    (filled({"factory": "two_parts", "arguments": {"each": 1}}), "each must be an initlib initializer, got 1"),
    (put("parameters", 0, "name", "a" * 513), "stream must have at most 512 characters, got 513"),
    (put("parameters", 0, "dtype", "a" * 90_000 + "!"), "dtype must be a name such as 'float32', got 'aaaa"),
    ('{"format": 0, ' + ", ".join(f'"k{i}": 1' for i in range(20_000)) + ', "k19999": 1}', "the name 'k19999' twice"),
    (filled({"parts": [], "fillings": []}), "parts must name at least one part"),
    (filled({"parts": [["a"]], "fillings": []}), "parts must be made of pairs of a name and a size, got ['a']"),
    (filled({"parts": [["a", True]], "fillings": ["keep"]}), "parts must be made of pairs of a name and a size"),
    (filled({"parts": [["a", 1], ["a", 1]], "fillings": ["keep"] * 2}), "parts must have different names, got a, a"),
    (filled({"parts": [["a", 1]], "fillings": []}), "parts must have one filling for each name, got 0 for 1 names"),
    (filled({"parts": [["a", 1]], "fillings": ["keep"]}), "parts must not all be kept"),
    (
        filled({"parts": [["a", 3]], "groups": 3, "fillings": [normal_of()]}),
        "must have a size divisible by 3, got 8",
    ),
    (filled({"parts": [["a", 1]], "groups": 0, "fillings": [normal_of()]}), "groups must be at least 1, got 0"),
    (
        filled({"parts": [["a", 1]], "fillings": [normal_of()], "x": 1}),
        "the object must have the fields parts, fillings, axis",
    ),
    (filled({"stack": "a", "fillings": [normal_of()]}), "a part's name must have {i}"),
    (filled({"stack": "a.{i}", "fillings": []}), "parts must have at least one filling"),
    (
        filled({"stack": "a.{i}", "fillings": [normal_of()] * 3}),
        "parts must have a filling for each of 8 indices, got 3",
    ),
    (
        filled({"stack": "a.{i}", "fillings": [normal_of()], "axis": 10**30}),
        "axis of parts must be an axis of shape (8, 4), got 1000",
    ),
    (filled({"values": "AAAA", "dtype": "float32", "shape": [8, 4]}), "buffer size must be a multiple"),
    (filled({"values": "AAAAAA==", "dtype": "float32", "shape": [8, 4]}), "cannot reshape array"),
    (filled({"values": "AAAAAA==", "dtype": "object", "shape": [1]}), "values must be float16, float32 or float64"),
    (filled({"values": "!", "dtype": "float32", "shape": [1]}), "filling 0 of the plan"),
    (filled({"values": "AADAfw==", "dtype": "float32", "shape": [1]}), "must not be NaN"),
    (
        filled({"values": "AAAAAA==", "dtype": "float32", "shape": [1]}),
        "values for 'w' must have shape (8, 4), got (1,)",
    ),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE, ids=[message for _, message in HOSTILE])
def test_a_hostile_or_future_text_is_an_error(text, message):
    with pytest.raises(ValueError) as caught:
        Plan.from_json(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_text_of_a_plan_that_cannot_be_drawn_is_a_plan_error():
    with pytest.raises(PlanError, match=r"orthogonal\(\) needs to know which of the 2 axes"):
        Plan.from_json(filled({"factory": "orthogonal", "arguments": {}}))


@pytest.mark.parametrize(
    "filling",
    [
        {"stack": "a.{i}", "fillings": [normal_of()]},
        {"parts": [["a", 1], ["b", 1]], "groups": 2**15, "fillings": [normal_of()] * 2},
    ],
)
def test_a_small_plan_cannot_make_many_boxes(filling):
    parameters = [{"name": f"{k}.w", "shape": [2**16, 1], "filling": 0} for k in range(500)]
    text = json.dumps({"format": "initlib plan", "version": 1, "fillings": [filling], "parameters": parameters})
    tracemalloc.start()
    try:
        with pytest.raises(PlanError, match=r"2.w: the parts of the plan .* at most 131072 boxes, got 196608"):
            Plan.from_json(text)
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


def test_a_plan_of_extreme_bounds_is_printed():
    extreme = {"factory": "log_uniform", "arguments": {"low": 5e-324, "high": 2**31}}
    assert "log_uniform(low=4.94066e-324, high=2.14748e+09)" in str(Plan.from_json(filled(extreme)))


def test_a_stack_of_no_layers_may_be_loaded():
    stack = {"stack": "a.{i}", "fillings": [{"loaded": "old", "source": 0}]}
    content = json.loads(filled(stack))
    content["sources"] = [{"path": "old.safetensors", "sha256": "0" * 64, "bytes": 1}]
    content["parameters"][0]["shape"] = [0, 2]
    assert Plan.from_json(json.dumps(content)).entries[0].pieces == ()


def test_a_text_must_be_a_string():
    with pytest.raises(TypeError, match="text must be a string, got bytes"):
        Plan.from_json(b"{}")


def test_a_text_over_the_limit_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("initlib.plans.text.json_decoding.MAX_BYTES", 100)
    path = tmp_path / "plan.json"
    example().save(path)
    with pytest.raises(ValueError, match="must be a plan of at most 100 bytes, got more"):
        Plan.load(path)


@given(st.data())
def test_any_change_of_a_text_is_a_plan_or_a_value_error(data):
    text = example().to_json()
    at = data.draw(st.integers(0, len(text) - 1))
    end = at + data.draw(st.integers(0, 3))
    put_in = data.draw(
        st.sampled_from(["", '"', "0", "-", "}", "]", "1e999", "null", "true", "{", ",", "\\", "9" * 40])
    )
    try:
        loaded = Plan.from_json(text[:at] + put_in + text[end:])
    except ValueError:  # and no other error
        return
    assert Plan.from_json(loaded.to_json()) == loaded


def test_fillings_that_are_alike_are_written_once():
    layers = [Parameter(f"h.{i}", (4, 4), axes="IO") for i in range(9)]
    document = json.loads(plan(layers, orthogonal()).to_json())
    assert document["fillings"] == [{"factory": "orthogonal", "arguments": {"gain": 1.0}}]
    nested_one = plan([Parameter("w", (4, 4, 3, 3), axes="OIHW")], icnr(he_normal, 2))
    assert Plan.from_json(nested_one.to_json()) == nested_one
