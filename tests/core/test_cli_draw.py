"""`initlib draw`: outputs and files."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import initlib
from initlib.cli import draw


def test_draw_prints_expected_and_measured_statistics(command):
    code, out, err = command("draw", "he_uniform", "784x128", "--seed", "3", "--name", "dense")
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
    assert len(histogram) == draw.BINS
    assert sum(int(line.split()[-1]) for line in histogram) == weight.size
    assert [float(line.split()[0]) for line in histogram][draw.BINS // 2] == 0
    assert max(line.count("█") for line in histogram) == draw.BAR


def test_draw_measures_more_than_one_block(command, monkeypatch):
    whole = command("draw", "he_normal", "100x7", "--seed", "0")
    monkeypatch.setattr(draw, "BLOCK", 64)
    assert command("draw", "he_normal", "100x7", "--seed", "0") == whole


def test_draw_without_a_seed_prints_the_seed(command, tmp_path):
    first, second = tmp_path / "first.npy", tmp_path / "second.npy"
    _, out, _ = command("draw", "he_normal", "4x5", "-o", str(first))
    command("draw", "he_normal", "4x5", "--seed", out[2].removeprefix("seed "), "-o", str(second))
    assert np.array_equal(np.load(first), np.load(second))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_npy_file_holds_the_weight(command, tmp_path, dtype):
    path = tmp_path / "w.npy"
    path.write_bytes(b"what was there before")
    code, out, _ = command("draw", "he_normal", "6x4", "--axes", "OI", "--seed", "1", "--dtype", dtype, "-o", str(path))
    saved, weight = np.load(path), initlib.he_normal((6, 4), dtype, axes="OI", seed=1)
    assert (code, out[-1]) == (0, f"wrote {path}")
    assert saved.dtype == weight.dtype
    assert np.array_equal(saved, weight)
    assert list(tmp_path.iterdir()) == [path]


def test_a_safetensors_file_holds_the_weight(command, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "w.safetensors"
    assert command("draw", "he_normal", "6x4", "--seed", "1", "--name", "dense/kernel", "-o", str(path))[0] == 0
    saved = safetensors.load_file(path)
    assert list(saved) == ["dense/kernel"]
    assert np.array_equal(saved["dense/kernel"], initlib.he_normal((6, 4), seed=1, name="dense/kernel"))
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_safetensors_file_holds_bfloat16(command, tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("ml_dtypes")
    path = tmp_path / "w.safetensors"
    assert command("draw", "he_normal", "6x4", "--seed", "1", "--dtype", "bfloat16", "-o", str(path))[0] == 0
    content = path.read_bytes()
    assert b'"dtype":"BF16"' in content
    assert content.endswith(initlib.he_normal((6, 4), "bfloat16", seed=1).tobytes())


def test_complex_weights_are_drawn(command, tmp_path):
    path = tmp_path / "w.npy"
    code, out, err = command("draw", "he_normal", "64x32", "--seed", "0", "--dtype", "complex64", "-o", str(path))
    weight = np.load(path)
    assert (code, err, len(out)) == (0, [], 6)
    expected = initlib.he_normal.std((64, 32))
    assert [float(word) for word in out[4].split()[1:]] == pytest.approx([expected, weight.std()], rel=1e-5)


def test_an_empty_weight_gives_a_warning(command):
    code, out, err = command("draw", "he_normal", "0x3", "--seed", "0")
    assert (code, len(out)) == (0, 3)
    assert err == ["initlib: warning: shape (0, 3) holds no weights: nothing is drawn"]


def test_one_value_is_a_histogram_of_one_row(command):
    _, out, _ = command("draw", "ones", "3x4")
    assert [line.split() for line in out[7:]] == [["1", "█" * draw.BAR, "12"]]


def test_a_failed_write_leaves_the_old_file(command, tmp_path, monkeypatch):
    def full(file, array):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "w.npy"
    path.write_bytes(b"before")
    monkeypatch.setattr(np, "save", full)
    code, out, err = command("draw", "he_normal", "3x4", "-o", str(path))
    assert (code, out, err) == (2, [], [f"initlib: [Errno 28] No space left on device: '{path}'"])
    assert [(file, file.read_bytes()) for file in tmp_path.iterdir()] == [(path, b"before")]


@pytest.mark.skipif(os.name != "posix", reason="the shell's limit on the size of files")
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_a_file_over_the_size_limit_is_one_line(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    program = [sys.executable, "-m", "initlib", "draw", "he_normal", "512x512", "-o", str(path)]
    limited = ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", *program]
    ran = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"initlib: [Errno 27] File too large: '{path}'\n"
    assert list(tmp_path.iterdir()) == []


def save(command, path):
    """Draw the same small weight into the file."""
    return command("draw", "he_normal", "3x4", "--seed", "0", "-o", str(path))


def test_nothing_follows_a_link_at_a_name_that_can_be_guessed(command, tmp_path):
    bystander = tmp_path / "bystander"
    bystander.write_bytes(b"mine")
    path = tmp_path / "w.npy"
    (tmp_path / f".{path.name}.{os.getpid()}.npy").symlink_to(bystander)
    assert save(command, path)[0] == 0
    assert bystander.read_bytes() == b"mine"
    assert not path.is_symlink()


def test_a_link_may_point_to_a_name_without_a_suffix(command, tmp_path):
    target, path = tmp_path / "target", tmp_path / "w.npy"
    target.write_bytes(b"before")
    path.symlink_to(target)
    assert save(command, path)[0] == 0
    assert path.is_symlink()
    assert np.array_equal(np.load(target), initlib.he_normal((3, 4), seed=0))
    assert set(tmp_path.iterdir()) == {path, target}


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_file_keeps_its_mode(command, tmp_path):
    path = tmp_path / "w.npy"
    path.touch(0o600)
    assert save(command, path)[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="FIFOs")
def test_a_fifo_stays_a_fifo(command, tmp_path):
    path = tmp_path / "w.npy"
    os.mkfifo(path)
    code, out, err = save(command, path)
    assert (code, out, len(err)) == (2, [], 1)
    assert "must be a regular file or absent" in err[0]
    assert path.is_fifo()


def test_links_in_a_circle_are_one_line(command, tmp_path):
    path, other = tmp_path / "w.npy", tmp_path / "other.npy"
    path.symlink_to(other)
    other.symlink_to(path)
    code, out, err = save(command, path)
    assert (code, out, len(err)) == (2, [], 1)
    assert str(path) in err[0]


def test_a_weight_cannot_have_the_name_of_the_metadata(command, tmp_path):
    path = tmp_path / "w.safetensors"
    code, out, err = command("draw", "he_normal", "3x4", "--name", "__metadata__", "-o", str(path))
    assert (code, out, len(err)) == (2, [], 1)
    assert "'__metadata__'" in err[0]
    assert not path.exists()


KILLED = """
import os, sys
import numpy as np
from initlib.__main__ import main

def save_and_die(file, weight, save=np.save):
    save(file, weight)
    os.kill(os.getpid(), 9)

np.save = save_and_die
main(["draw", "he_normal", "30x40", "-o", sys.argv[1]])
"""


def test_a_kill_leaves_a_hidden_file_that_the_next_write_removes(command, tmp_path):
    path = tmp_path / "w.npy"
    ran = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert [file.suffix for file in tmp_path.iterdir()] == [".partial"]
    assert save(command, path)[0] == 0
    assert list(tmp_path.iterdir()) == [path]
