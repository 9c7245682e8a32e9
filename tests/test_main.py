"""The command line: what it prints, what it writes, and how it fails."""

import os
import subprocess
import sys

import numpy as np
import pytest

import initlib
from initlib import __main__ as command_line
from initlib.__main__ import main


def run(capsys, *arguments):
    """The exit code, and the lines of stdout and of stderr."""
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "fan_in", "fan_out"),
    [
        (["64x32x3x3", "--axes", "OIHW"], 288, 576),
        (["784x128"], 784, 128),
        (["192x64", "--axes", "(3 O)I"], 64, 64),
        (["7"], 7, 7),
        (["0x3"], 0, 3),
    ],
)
def test_fans(capsys, arguments, fan_in, fan_out):
    assert run(capsys, "fans", *arguments) == (0, [f"fan_in  {fan_in}", f"fan_out {fan_out}"], [])


def test_draw_prints_what_was_expected_and_measured(capsys):
    code, out, err = run(capsys, "draw", "he_uniform", "784x128", "--seed", "3", "--name", "dense")
    weight = initlib.he_uniform((784, 128), seed=3, name="dense")
    assert (code, err) == (0, [])
    assert out[:3] == [
        repr(initlib.he_uniform),
        "shape 784x128, float32, fan_in 784, fan_out 128",
        "seed 3, name 'dense'",
    ]
    rows = {line.split()[0]: tuple(map(float, line.split()[1:])) for line in out[4:7]}
    low, high = initlib.he_uniform.bounds((784, 128))
    measured = {"std": weight.std(dtype=np.float64), "least": weight.min(), "greatest": weight.max()}
    for row, expected in zip(rows, (initlib.he_uniform.std((784, 128)), low, high), strict=True):
        assert rows[row] == (float(f"{expected:.6g}"), float(f"{measured[row]:.6g}"))
    histogram = out[7:]
    assert len(histogram) == command_line.BINS
    assert sum(int(line.split()[-1]) for line in histogram) == weight.size
    assert [float(line.split()[0]) for line in histogram][command_line.BINS // 2] == 0
    assert max(line.count("█") for line in histogram) == command_line.BAR


def test_draw_measures_more_than_one_block(capsys, monkeypatch):
    whole = run(capsys, "draw", "he_normal", "100x7", "--seed", "0")
    monkeypatch.setattr(command_line, "BLOCK", 64)
    assert run(capsys, "draw", "he_normal", "100x7", "--seed", "0") == whole


def test_draw_without_a_seed_prints_one_that_draws_it_again(capsys, tmp_path):
    first, second = tmp_path / "first.npy", tmp_path / "second.npy"
    _, out, _ = run(capsys, "draw", "he_normal", "4x5", "-o", str(first))
    run(capsys, "draw", "he_normal", "4x5", "--seed", out[2].removeprefix("seed "), "-o", str(second))
    assert np.array_equal(np.load(first), np.load(second))


@pytest.mark.parametrize(
    ("text", "initializer"),
    [
        ("he_normal", initlib.he_normal),
        ("kaiming_uniform", initlib.he_uniform),
        ("zeros", initlib.zeros),
        ("normal", initlib.normal()),
        ("normal:", initlib.normal()),
        ("normal:std=0.02", initlib.normal(std=0.02)),
        ("normal:1,std=2e-2", initlib.normal(1, 0.02)),
        ("truncated_normal:low=-1", initlib.truncated_normal(low=-1)),
        ("constant:0.5", initlib.constant(0.5)),
        ("uniform:-0.05,0.05", initlib.uniform(-0.05, 0.05)),
        ("scaled:he_normal,0.5", initlib.scaled(initlib.he_normal, 0.5)),
        ("siren:first=True", initlib.siren(first=True)),
        ("variance_scaling:2,FAN_OUT,distribution=uniform", initlib.variance_scaling(2, "fan_out", "uniform")),
    ],
)
def test_initializers_are_read(text, initializer):
    assert command_line._initializer(text) == initializer


def test_every_initializer_of_the_package_is_offered(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["draw", "--help"])
    shown = capsys.readouterr().out
    offered = {*command_line._presets(), *command_line._factories()}
    assert {"glorot_normal", "ones", "normal", "uniform", "variance_scaling"} <= offered
    assert offered.isdisjoint({"Initializer", "Key", "Fans", "fans", "get_num_threads"})
    assert all(name in shown for name in offered)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_npy(capsys, tmp_path, dtype):
    path = tmp_path / "w.npy"
    path.write_bytes(b"what was there before")
    code, out, _ = run(
        capsys, "draw", "he_normal", "6x4", "--axes", "OI", "--seed", "1", "--dtype", dtype, "-o", str(path)
    )
    saved, weight = np.load(path), initlib.he_normal((6, 4), dtype, axes="OI", seed=1)
    assert (code, out[-1]) == (0, f"wrote {path}")
    assert saved.dtype == weight.dtype
    assert np.array_equal(saved, weight)
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors(capsys, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "w.safetensors"
    assert run(capsys, "draw", "he_normal", "6x4", "--seed", "1", "--name", "dense/kernel", "-o", str(path))[0] == 0
    saved = safetensors.load_file(path)
    assert list(saved) == ["dense/kernel"]
    assert np.array_equal(saved["dense/kernel"], initlib.he_normal((6, 4), seed=1, name="dense/kernel"))
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_safetensors_in_bfloat16(capsys, tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("ml_dtypes")
    path = tmp_path / "w.safetensors"
    assert run(capsys, "draw", "he_normal", "6x4", "--seed", "1", "--dtype", "bfloat16", "-o", str(path))[0] == 0
    content = path.read_bytes()
    assert b'"dtype":"BF16"' in content
    assert content.endswith(initlib.he_normal((6, 4), "bfloat16", seed=1).tobytes())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fans", "64x32x3x3", "--axes", "OIH"], ["axes 'OIH' names 3 axes", "(64, 32, 3, 3)"]),
        (["draw", "he_norml", "3x4"], ["he_norml", "he_normal"]),
        (["draw", "he_normal:2", "3x4"], ["he_normal takes no arguments"]),
        (["draw", "uniform:a=3", "3x4"], ["'a'", "low, high"]),
        (["draw", "normal:std=1e9", "3x4", "--dtype", "float16"], ["overflow float16"]),
        (["draw", "sparse", "3x4"], ["'sparsity'", "sparsity, std"]),
        (["draw", "uniform:2,1", "3x4"], ["low must not be above high"]),
        (["draw", "normal:std=much", "3x4"], ["std must be a real number", "'much'"]),
        (["draw", "normal:std=__import__('os')", "3x4"], ["std must be a real number"]),
        (["draw", "he_normal", "3x4", "--dtype", "int8"], ["dtype must be one of", "'int8'"]),
        (["draw", "he_normal", "3x4", "--seed", "-1"], ["seed must be at least 0", "-1"]),
        (["draw", "he_normal", "3x4", "-o", "w.txt"], ["output must end in .npy or .safetensors", "'w.txt'"]),
        (["draw", "he_normal", "3x4", "-o", "nowhere/w.npy"], ["directory that does not exist"]),
        (["draw", "he_normal", "3x4", "-o", "w.npy", "--dtype", "bfloat16"], ["bfloat16", ".safetensors"]),
        (["draw", "he_normal", "10000000x100000000"], ["Unable to allocate"]),
    ],
)
def test_mistakes_are_one_line_and_draw_nothing(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("initlib: ")
    assert all(word in err[0] for word in words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", ["", "3xx4", "3,4", "-3x4", "1.5", "²"])
def test_a_shape_that_is_none(capsys, shape):
    with pytest.raises(SystemExit, match="2"):
        main(["fans", "--", shape])
    assert f"sizes joined by x, such as 64x32x3x3, got {shape!r}" in capsys.readouterr().err


def test_no_weights_is_a_warning(capsys):
    code, out, err = run(capsys, "draw", "he_normal", "0x3", "--seed", "0")
    assert (code, len(out)) == (0, 3)
    assert err == ["initlib: warning: shape (0, 3) holds no weights: nothing is drawn"]


def test_one_value_is_a_histogram_of_one_row(capsys):
    _, out, _ = run(capsys, "draw", "ones", "3x4")
    assert [line.split() for line in out[7:]] == [["1", "█" * command_line.BAR, "12"]]


def test_a_write_that_fails_leaves_what_was_there(capsys, tmp_path, monkeypatch):
    def full(file, array):
        file.write_bytes(b"half")
        raise OSError("disk full")

    path = tmp_path / "w.npy"
    path.write_bytes(b"before")
    monkeypatch.setattr(np, "save", full)
    code, _, err = run(capsys, "draw", "he_normal", "3x4", "-o", str(path))
    assert (code, err) == (2, ["initlib: disk full"])
    assert [(file, file.read_bytes()) for file in tmp_path.iterdir()] == [(path, b"before")]


def test_a_missing_package_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "initlib.commands.demo", raising=False)
    monkeypatch.delattr("initlib.commands.demo", raising=False)
    code, _, err = run(capsys, "demo")
    assert code == 2
    assert len(err) == 1
    assert 'pip install "initlib[demo]"' in err[0]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_quiet(capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(initlib, "fans", interrupted)
    assert run(capsys, "fans", "3x4") == (130, [], [])


def test_version_config_and_no_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"initlib {initlib.__version__}\n"
    code, out, _ = run(capsys, "config")
    assert (code, out[0].split()[0]) == (0, "initlib")
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err


def test_as_a_module_whose_reader_leaves_and_whose_terminal_is_ascii():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "initlib", "draw", "he_normal", "30x40"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with os.fdopen(writer, "wb") as closed:
        left = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, env=environment, check=False)
    assert (left.returncode, left.stderr) == (141, b"")
    plain = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b" ####" in plain.stdout
