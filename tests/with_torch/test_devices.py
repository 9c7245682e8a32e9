"""Engines of devices: Triton's where it gives the bits of the core, else the reference."""

import subprocess
import sys

import pytest
import torch

import initlib
from initlib.adapters.torch.drawing import devices
from initlib.adapters.torch.drawing.devices import describe, engine_of
from initlib.adapters.torch.drawing.engine import TorchEngine
from initlib.adapters.torch.drawing.triton_engine import TritonEngine


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Clear the engines that the process has chosen."""
    monkeypatch.delenv("INITLIB_TRITON", raising=False)
    looked_at = devices._obstacle, devices.engine_of
    for function in looked_at:
        function.cache_clear()
    yield
    for function in looked_at:
        function.cache_clear()


@pytest.fixture
def triton_works(monkeypatch):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: name == "triton" or None)
    monkeypatch.setattr(devices, "_trial", lambda device: None)


def describe_with_a_warning(device):
    with pytest.warns(RuntimeWarning, match=f"slower reference code draws weights on {device}"):
        return describe(device)


@pytest.mark.usefixtures("triton_works")
def test_triton_draws_on_a_gpu():
    assert describe("cuda:0") == "Triton kernel"
    for device in ("cpu", "mps", "meta"):
        assert describe(device) == "reference"


def test_each_device_has_one_engine(monkeypatch):
    assert type(engine_of(torch.device("cpu"))) is TorchEngine
    engine_of.cache_clear()
    monkeypatch.setattr(devices, "_obstacle", lambda device: None)
    assert type(engine_of(torch.device("cpu"))) is TritonEngine


@pytest.mark.usefixtures("triton_works")
def test_the_environment_forces_the_reference(monkeypatch):
    monkeypatch.setenv("INITLIB_TRITON", "0")
    assert describe("cuda:0") == "reference (INITLIB_TRITON=0)"
    monkeypatch.setenv("INITLIB_TRITON", "yes")
    with pytest.raises(ValueError, match=r"INITLIB_TRITON must be 0 \(no Triton kernel\) or unset, got 'yes'"):
        describe("cuda:1")


@pytest.mark.usefixtures("triton_works")
def test_show_config_names_the_engine_of_the_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    initlib.show_config()
    assert "draws on" not in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    initlib.show_config()
    assert capsys.readouterr().out.splitlines()[-1] == "draws on cuda:1, a card: Triton kernel"


def test_without_triton_the_reference_draws(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert describe("cuda:0") == "reference (Triton is not installed)"


@pytest.mark.usefixtures("triton_works")
def test_the_reference_draws_where_triton_fails(monkeypatch):
    def fail(device):
        raise RuntimeError("Failed to find C compiler.\nPlease set CC")

    monkeypatch.setattr(devices, "_trial", fail)
    expected = "reference (Triton failed: RuntimeError: Failed to find C compiler.)"
    assert describe_with_a_warning("cuda:0") == expected
    assert describe("cuda:0") == expected  # and no second warning


@pytest.mark.usefixtures("triton_works")
def test_the_reference_draws_where_the_kernel_gives_other_bits(monkeypatch):
    monkeypatch.setattr(devices, "_trial", lambda device: "other bits")
    assert describe_with_a_warning("cuda:0") == "reference (other bits)"


def test_the_trial_compares_with_the_core(monkeypatch):
    def wrong(engine, out, law, weight):
        TorchEngine.fill(engine, out, law, weight)
        out[1234] += 1e-7

    monkeypatch.setattr(TritonEngine, "fill", TorchEngine.fill)
    assert devices._trial(torch.device("cpu")) is None
    monkeypatch.setattr(TritonEngine, "fill", wrong)
    assert devices._trial(torch.device("cpu")) == "Triton's kernel gave other bits than the core"


PROGRAM = """
import sys
import torch
import initlib.adapters.torch as init
init.he_normal_(torch.empty(30, 20), seed=0)
{statement}
print("triton" in sys.modules)
"""


@pytest.mark.parametrize(("statement", "loaded"), [("", "False"), ("import triton", "True")], ids=["no", "can fail"])
def test_on_a_cpu_triton_is_not_imported(statement, loaded):
    if statement:
        pytest.importorskip("triton")
    command = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == loaded
