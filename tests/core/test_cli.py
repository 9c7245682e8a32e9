"""Command line: outputs, files and errors."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import initlib
from initlib.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "fan_in", "fan_out"),
    [
        (["64x32x3x3", "--axes", "OIHW"], 288, 576),
        (["192x64", "--axes", "(3 O)I"], 64, 64),
        (["7"], 7, 7),
        (["0x3", "--axes", "IO"], 0, 3),
    ],
)
def test_fans_are_printed(command, arguments, fan_in, fan_out):
    assert command("fans", *arguments) == (0, [f"fan_in  {fan_in}", f"fan_out {fan_out}"], [])


@pytest.mark.parametrize(
    ("shape", "fans", "meaning"),
    [
        ("64x32x3x3", (6144, 6144), "a 64x32 field, 3 inputs, 3 outputs"),
        ("784x128", (784, 128), "784 inputs, 128 outputs"),
    ],
)
def test_fans_names_the_axes_that_it_assumes(command, shape, fans, meaning):
    assumed = f"axes    ...IO is assumed: {meaning}; for the order of PyTorch: --axes OI..."
    assert command("fans", shape) == (0, [f"fan_in  {fans[0]}", f"fan_out {fans[1]}", assumed], [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fans", "64x32x3x3", "--axes", "OIH"], ["axes must name 4 axes", "(64, 32, 3, 3)"]),
        (["draw", "he_norml", "3x4"], ["he_norml", "he_normal"]),
        (["draw", "he_normal:2", "3x4"], ["he_normal must have no arguments"]),
        (["draw", "uniform:a=3", "3x4"], ["'a'", "low, high"]),
        (["draw", "normal:std=1e9", "3x4", "--dtype", "float16"], ["overflow float16"]),
        (["draw", "sparse", "3x4"], ["'sparsity'", "sparsity, std"]),
        (["draw", "uniform:2,1", "3x4"], ["low must not be above high"]),
        (["draw", "normal:std=much", "3x4"], ["std must be a real number", "'much'"]),
        (["draw", "normal:std=__import__('os')", "3x4"], ["initializer must be one of"]),
        (["draw", "normal(std=[1 for _ in range(3)])", "3x4"], ["initializer must be written as in normal(std=0.02)"]),
        (["draw", "normal(**{})", "3x4"], ["initializer must be written as in normal(std=0.02)"]),
        (["draw", "normal(*[1])", "3x4"], ["initializer must be written as in normal(std=0.02)"]),
        (["draw", "normal.std", "3x4"], ["initializer must be written as in normal(std=0.02)"]),
        (["draw", "he_normal * he_normal", "3x4"], ["factor must be a real number", "variance_scaling"]),
        (["draw", "normal:std=" + "(" * 10**5 + "1", "3x4"], ["initializer must be written as in"]),
        (["draw", "normal(std=0.02", "3x4"], ["initializer must be written as in", "'normal(std=0.02'"]),
        (["draw", "variance_scaling:factor=1" + "0" * 400, "3x4"], ["factor must be finite, got inf"]),
        (["draw", "variance_scaling:factor=1" + "0" * 5000, "3x4"], ["initializer must be written as in"]),
        (
            ["draw", "variance_scaling:factor=10**400", "3x4"],
            ["initializer must be written as in", "'variance_scaling:factor=10**400'"],
        ),
        (["draw", "he_normal", "3x4", "--dtype", "int8"], ["dtype must be one of", "'int8'"]),
        (["draw", "he_normal", "3x4", "--dtype", "bf16"], ["got 'bf16'. Nearest: bfloat16"]),
        (["draw", "he_normal", "3x4", "--seed", "-1"], ["seed must be at least 0", "-1"]),
        (["draw", "he_normal", "3x4", "-o", "w.txt"], ["output must end in .npy or .safetensors", "'w.txt'"]),
        (["draw", "he_normal", "3x4", "-o", "nowhere/w.npy"], ["must be in a directory that exists"]),
        (["draw", "he_normal", "3x4", "-o", "w.npy", "--dtype", "bfloat16"], ["bfloat16", ".safetensors"]),
        (["draw", "he_normal", "10000000x100000000"], ["Unable to allocate"]),
    ],
)
def test_mistakes_are_one_line_and_draw_nothing(command, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("initlib: ")
    assert all(word in err[0] for word in words)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "initlib.cli.demo", raising=False)
    monkeypatch.delattr("initlib.cli.demo", raising=False)
    code, _, err = command("demo")
    assert code == 2
    assert len(err) == 1
    assert 'pip install "initlib[demo]"' in err[0]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_quiet(command, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(initlib, "fans", interrupted)
    assert command("fans", "3x4") == (130, [], [])


def test_version_and_config_are_printed_and_no_command_is_an_error(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"initlib {initlib.__version__}\n"
    code, out, _ = command("config")
    assert (code, out[0].split()[0]) == (0, "initlib")
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--name", "--axes", "--dtype"])
def test_text_that_cannot_be_printed_is_an_error_that_names_the_argument(capsys, option):
    with pytest.raises(SystemExit, match="2"):
        main(["draw", "he_normal", "3x4", option, "\udcff"])
    assert f"argument {option}: must be text that can be printed, got '\\udcff'" in capsys.readouterr().err


HE_NORMAL = [sys.executable, "-m", "initlib", "draw", "he_normal", "30x40"]


def test_a_closed_pipe_and_an_ascii_terminal_are_handled():
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with os.fdopen(writer, "wb") as closed:
        left = subprocess.run(HE_NORMAL, stdout=closed, stderr=subprocess.PIPE, env=environment, check=False)
    assert (left.returncode, left.stderr) == (141, b"")
    plain = subprocess.run(HE_NORMAL, capture_output=True, env=environment, check=True)
    assert b" ####" in plain.stdout


@pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
@pytest.mark.parametrize(("streams", "code"), [(">&-", 0), (">&- 2>&-", 0), ("2>&-", 0), (">/dev/full", 2)])
def test_closed_and_full_streams_do_not_prevent_the_file(tmp_path, streams, code):
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "w.npy"
    shell = ["sh", "-c", f'"$@" {streams}', "sh", *HE_NORMAL, "--seed", "0", "-o", str(path)]
    ran = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert ran.stderr.splitlines() == (["initlib: [Errno 28] No space left on device"] if code else [])
    assert np.array_equal(np.load(path), initlib.he_normal((30, 40), seed=0))
