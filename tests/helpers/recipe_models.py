"""Parameters of models for the tests of recipes, and their stds."""

import re

import pytest

from initlib import Parameter, plan


def parameters_of(model):
    """Return the parameters of a PyTorch model, with the facts that its modules state."""
    nn = pytest.importorskip("torch").nn
    fields_of = {}
    for prefix, module in model.named_modules():
        kind = type(module).__name__
        for attribute, tensor in module.named_parameters(recurse=False):
            name = f"{prefix}.{attribute}".lstrip(".")
            axes, role = None, "other"
            if "bias" in attribute and tensor.ndim == 1:
                role = "bias"
            elif kind == "Conv1D":
                axes, role = "IO", "kernel"
            elif isinstance(module, (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)):
                groups = getattr(module, "groups", 1)
                first, second = "IO" if "Transpose" in kind else "OI"
                first = f"({groups} {first})" if groups > 1 else first
                axes = "OII" if kind == "Bilinear" else first + second + "DHW"[5 - tensor.ndim :] * (tensor.ndim > 2)
                role = "kernel"
            elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                axes, role = "IO", "table"
            elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
                gates = {"LSTM": 4, "GRU": 3}.get(re.sub("Cell", "", kind), 1)
                axes, role = f"({gates} O)I", "recurrent" if "hh" in attribute else "kernel"
            elif "proj_weight" in attribute:
                axes, role = "(3 O)I" if attribute.startswith("in") else "OI", "kernel"
            elif tensor.ndim == 1:
                role = "scale"
            padding = getattr(module, "padding_idx", None) if role == "table" else None
            if id(tensor) in fields_of:
                first = fields_of[id(tensor)]
                fields_of[id(tensor)] = first | {"tied": (*first.get("tied", ()), name)}
            else:
                fields_of[id(tensor)] = {
                    "name": name,
                    "shape": tuple(tensor.shape),
                    "axes": axes,
                    "kind": role,
                    "owner": kind,
                    "padding": padding,
                }
    return [Parameter(**fields) for fields in fields_of.values()]


def kernels(**shapes):
    """Return kernels by their names, with `_` for each dot."""
    return [Parameter(name.replace("_", "."), shape, axes="OI", kind="kernel") for name, shape in shapes.items()]


def drawn_std(parameters, rules):
    """Return the std of each parameter by its name, as the plan states it."""
    return {row["name"]: row["std"] for row in plan(parameters, rules).to_dicts()}
