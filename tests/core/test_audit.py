"""Audit: findings, tables, and files."""

import json
import math
import re

import numpy as np
import pytest

from initlib import audit, glorot_uniform, he_normal, normal, orthogonal, truncated_normal, uniform, zeros
from initlib.__main__ import main
from initlib.diagnostics.audit.audit import FINDINGS, Audit

HE = he_normal((64, 48), seed=0)


def findings(array, name="w"):
    return dict(audit({name: np.asarray(array)}).tensors[0].findings)


def test_sound_weights_have_no_findings():
    arrays = {
        "he": HE,
        "bias": zeros((64,)),
        "scale": np.ones(64),
        "scale2": np.ones(64),
        "half": HE.astype(np.float16),
        "trunc": truncated_normal(std=0.02)((500, 300), seed=0),
        "column": normal()((5000, 1), seed=0),
        "conv": normal()((64, 32, 3, 3), seed=0),
        "uniform": uniform()((1000, 200), seed=0),
        "frequencies": 10000.0 ** -(np.arange(32) / 32),
        "frequencies2": 10000.0 ** -(np.arange(32) / 32),
        "orthogonal": orthogonal()((64, 64), seed=0),
        "mask": np.tri(64, dtype=bool),
        "mask2": np.tri(64, dtype=bool),
        "scalar": np.array(2.0),
        "scalar2": np.array(2.0),
        "nothing": np.empty((0, 4)),
    }
    report = audit(arrays)
    assert report.found() == []
    assert [tensor.name for tensor in report.tensors] == list(arrays)
    assert report.tensors[0].scheme == "he_normal"


def test_nans_and_infinities_are_counted():
    broken = np.where(np.arange(48) == 3, np.nan, HE)
    broken[0, 0] = np.inf
    assert findings(broken) == {"nan": "63 NaNs, 1 infinities"} or findings(broken)["nan"] == "64 NaNs, 1 infinities"
    tensor = audit({"w": broken}).tensors[0]
    assert tensor.nans + tensor.infinities == 65
    assert math.isfinite(tensor.std)
    everything = audit({"w": np.full((3, 3), np.nan)}).tensors[0]
    assert (everything.mean, everything.std) == (None, None)


def test_zeros_and_constants_are_found():
    assert findings(np.zeros((8, 4))) == {"zeros": "all 32 weights are 0"}
    assert findings(np.full((8, 4), 0.5)) == {"constant": "all 32 weights are 0.5"}
    assert findings(np.zeros(8)) == findings(np.ones(8)) == {}


def test_equal_rows_and_columns_are_found():
    rows = HE.copy()
    rows[3] = rows[9] = rows[50]
    assert findings(rows) == {"rows": "3 of 64 rows equal another"}
    assert findings(rows.T) == {"rows": "3 of 64 columns equal another"}
    assert findings(np.tile(HE[:1], (64, 1))) == {"rows": "64 of 64 rows equal another"}
    padded = HE.copy()
    padded[:2] = 0
    assert findings(padded) == {}


def test_equal_shards_are_found():
    assert findings(np.concatenate([HE] * 4)) == {"shards": "4 equal parts along the first axis"}
    assert findings(np.concatenate([HE] * 2, axis=1)) == {"shards": "2 equal parts along the last axis"}


@pytest.mark.parametrize("scale", [1e-320, 1e-250, 1e160, 1e300])
def test_float64_weights_are_measured_where_squares_overflow_or_underflow(scale):
    array = normal()((300, 200), "float64", seed=0) * scale
    tensor, other = audit({"w": array, "other": HE}).tensors
    exact = np.asarray(array, np.longdouble)
    assert tensor.std == pytest.approx(float(exact.std()), rel=1e-3 if scale < 1e-300 else 1e-12)
    assert (tensor.mean, tensor.scheme) == (pytest.approx(float(exact.mean()), rel=1e-6), None)
    assert tensor.test == "the squares of the numbers leave the range of float64"
    assert other.scheme == "he_normal"


def test_numbers_of_very_different_scales_are_measured_together():
    array = np.concatenate([np.full((2**13, 64), 1e-200), np.full((2**13, 64), 1.0), np.full((2**13, 64), -1e200)])
    tensor = audit({"w": array}).tensors[0]
    assert tensor.mean == pytest.approx(-1e200 / 3)
    assert tensor.std == pytest.approx(2**0.5 / 3 * 1e200)
    assert (tensor.least, tensor.greatest) == (-1e200, 1.0)


def test_names_must_be_strings_and_values_must_be_numbers():
    with pytest.raises(TypeError, match=r"names must be strings, got 1\. Pass \{'1': array\}"):
        audit({1: HE})
    for value, kind in (
        (np.array([HE, None], object), "an array of dtype object"),
        (np.array(["a"]), "an array of dtype <U1"),
        (np.zeros(3, [("x", "f4")]), r"an array of dtype \[\('x', '<f4'\)\]"),
        ("text", "str"),
        ({"kernel": HE}, "dict"),
    ):
        with pytest.raises(TypeError, match=rf"layer must be an array of numbers, got {kind}"):
            audit({"layer": value})
    cyclic = {}
    cyclic["itself"] = cyclic
    with pytest.raises(TypeError, match="itself must be an array of numbers, got dict"):
        audit(cyclic)


def test_control_characters_in_names_are_escaped_in_the_table():
    text = str(audit({"a\x1b[2Jb\nforged  row": HE}))
    assert text.split("\n")[1].startswith(r"a\x1b[2Jb\nforged  row  64x48")


def test_duplicates_are_found():
    arrays = {"a": HE, "b": HE.copy(), "c": HE.astype(np.float16), "bias": HE[0], "bias2": HE[0]}
    report = audit(arrays)
    assert {tensor.name: tensor.findings for tensor in report.found("duplicates")} == {
        "b": (("duplicates", "equal to a"),),
        "bias2": (("duplicates", "equal to bias"),),
    }


def test_values_stuck_at_a_bound_are_found():
    clipped = np.clip(normal()((300, 200), seed=0), -1.5, 2.2)
    assert audit({"w": clipped}).tensors[0].findings == (
        ("stuck", "256 weights or more at -1.5"),
        ("stuck", "256 weights or more at 2.2"),
    )
    few = np.clip(normal()((300, 200), seed=0), -9, 3.3)
    assert findings(few)["stuck"].endswith("weights at 3.3")
    tail = normal(std=0.02)((300, 200), seed=0)
    tail[7, 7] = -2.0
    assert findings(tail) == {"stuck": "1 at -2, 92 stds from the mean, as torch's trunc_normal_ leaves them"}


def test_axes_follow_from_names():
    weight = he_normal((64, 128), seed=0, axes="OI")
    for arrays, axes in (
        ({"fc.weight": weight}, "OI..."),
        ({"fc.kernel": weight.T}, "...IO"),
        ({"layers/dense/kernel": weight.T}, "...IO"),
        ({"other": weight.T}, "...IO"),
    ):
        tensor = audit(arrays).tensors[0]
        assert (tensor.scheme, tensor.axes) == ("he_normal", axes)
    assert audit({"fc.kernel": weight}, axes="OI...").tensors[0].scheme == "he_normal"
    with pytest.raises(ValueError, match=r"axes must be one of OI\.\.\., \.\.\.IO, got 'OIHW'"):
        audit({}, axes="OIHW")


def test_the_report_is_a_table_and_dictionaries():
    report = audit({"a": HE, "zero": np.zeros((8, 4)), "nan": np.array([np.nan])})
    lines = str(report).split("\n")
    assert lines[0].split() == ["tensor", "shape", "dtype", "mean", "std", "least", "greatest", "scheme", "found"]
    assert lines[1].startswith("a       64x48  float32")
    assert lines[1].endswith("he_normal")
    assert lines[2].endswith("zeros      zeros: all 32 weights are 0")
    dicts = json.loads(json.dumps(report.to_dicts()))
    assert dicts[0]["scheme"] == "he_normal"
    assert [tensor.name for tensor in report.found("zeros")] == ["zero"]
    assert [tensor.name for tensor in report.found()] == ["zero", "nan"]
    with pytest.raises(ValueError, match=f"finding must be one of {', '.join(FINDINGS)}, got 'zero'"):
        report.found("zero")
    assert str(Audit([])).startswith("tensor")


@pytest.fixture
def files(tmp_path):
    np.savez(tmp_path / "a.npz", w=HE, z=np.zeros((4, 4)), o=np.array([{}], object))
    np.savez(tmp_path / "b.npz", w=HE)
    return [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]


def test_files_are_audited_together(files):
    report = audit(files)
    assert [(tensor.file, tensor.name) for tensor in report.tensors] == [
        ("a.npz", "w"),
        ("a.npz", "z"),
        ("a.npz", "o"),
        ("b.npz", "w"),
    ]
    assert (
        report.tensors[2].test == "not measured: the array holds no numbers, and a pickle in the array could run code"
    )
    assert dict(report.tensors[3].findings) == {"duplicates": "equal to a.npz w"}
    assert str(report).startswith("file   tensor")
    assert audit(files[1]).found() == []


def test_the_command_prints_and_fails_on_findings(files, capsys):
    assert main(["audit", files[0]]) == 0
    printed = capsys.readouterr().out
    assert "he_normal" in printed
    assert "zeros: all 16 weights are 0" in printed
    assert main(["audit", files[0], "--tests"]) == 0
    assert "w: normal cut at 2 sigma, KS" in capsys.readouterr().out
    assert main(["audit", *files, "--json", "--fail-on", "duplicates,nan"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["w", "z", "o", "w"]
    assert main(["audit", files[1], "--fail-on", "zeros,nan,duplicates"]) == 0
    capsys.readouterr()


def test_mistakes_on_the_command_line_are_errors(files, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        main(["audit", files[0], "--fail-on", "zero"])
    assert "finding must be one of nan, zeros" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "none.pt")]) == 2
    assert "none.pt" in capsys.readouterr().err
    (tmp_path / "text").write_text("some words")
    assert main(["audit", str(tmp_path / "text")]) == 2
    assert "must be a safetensors" in capsys.readouterr().err


def test_memory_is_bounded(tmp_path):
    """A file of 64 MB is read in far less memory."""
    import tracemalloc

    np.save(tmp_path / "w.npy", normal()((2**12, 2**12), seed=0))
    tracemalloc.start()
    try:
        assert audit(tmp_path / "w.npy").tensors[0].scheme == "normal(std=1)"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6


def test_models_of_pytorch_are_audited():
    torch = pytest.importorskip("torch")
    import initlib.adapters.torch as init

    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64), torch.nn.BatchNorm1d(64))
    model[1].weight = model[0].weight
    assert init.audit(model).found() == []
    assert [tensor.name for tensor in init.audit(model).tensors[:2]] == ["0.weight", "0.bias"]
    model[1].weight = torch.nn.Parameter(model[0].weight.detach().clone())
    assert [tensor.name for tensor in init.audit(model.state_dict()).found("duplicates")] == ["1.weight"]
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module or a dictionary of tensors, got int"):
        init.audit(3)


def test_packed_and_grouped_kernels_are_matched_by_their_own_fans():
    pytest.importorskip("torch")
    from torch import nn

    import initlib.adapters.torch as init

    model = nn.ModuleDict(
        {
            "attention": nn.MultiheadAttention(64, 4),
            "lstm": nn.LSTM(48, 32),
            "grouped": nn.Conv2d(128, 96, 3, groups=4),
            "transposed": nn.ConvTranspose2d(48, 24, 3),
        }
    )
    packed = {"attention.in_proj_weight": "(3 O)I", "lstm.weight_ih_l0": "(4 O)I", "grouped.weight": "(4 O)IHW"}
    packed |= {"lstm.weight_hh_l0": "(4 O)I"}
    for scheme in (he_normal, glorot_uniform):
        init.initialize(model, {"*:recurrent": scheme}, seed=0, default=scheme)
        tensors = {tensor.name: tensor for tensor in init.audit(model).tensors}
        label = "he_normal" if scheme is he_normal else "glorot_uniform"
        for name, axes in {**packed, "transposed.weight": "IOHW"}.items():
            assert label in (tensors[name].scheme, *tensors[name].also)
            assert tensors[name].axes == axes
    init.initialize(model, orthogonal(2.0), seed=0)
    tensors = {tensor.name: tensor for tensor in init.audit(model).tensors}
    assert {tensors[name].scheme for name in packed} == {"orthogonal(gain=2)", "orthogonal"}  # recurrent kernels'
    assert tensors["attention.in_proj_weight"].test.startswith("of 3 kernels, the first and the last: 64 rows are")
    nn.init.xavier_uniform_(model["attention"].in_proj_weight)  # PyTorch draws the packed kernels as one
    tensor = next(iter(init.audit(model).tensors))
    assert (tensor.scheme, tensor.axes) == ("glorot_uniform", "OI...")


def test_a_model_in_place_of_a_path_is_an_error_that_names_the_adapter():
    model = type("Linear", (), {"__module__": "torch.nn.modules.linear"})()
    message = (
        "source must be paths or a dictionary of arrays, got Linear. For a model: initlib.adapters.torch.audit(model)"
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        audit(model)
