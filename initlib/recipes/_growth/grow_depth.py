"""Recipe of a deeper model: each layer is loaded from a layer of the old model."""

import re
from collections.abc import Sequence
from typing import Literal

from ..._arguments import choice, integer
from ...plans.fills.loaded import loaded
from ...plans.fills.values import Fill
from ...plans.parameter import Parameter, check_name
from ...plans.rules.glob import glob
from ...schemes._constant import zeros
from ..rules import Rules, required
from .old_model import OldModel, Source, as_patterns

SCHEMES = ("stack", "expand", "overlap")


def grow_depth(
    source: Source,
    layers: int,
    *,
    module: str = "layers",
    scheme: Literal["stack", "expand", "overlap"] = "stack",
    outputs: Sequence[str] = ("*.o_proj.weight", "*.down_proj.weight"),
) -> Rules:
    """Return the rules of a deeper model: each layer is loaded from a layer of the old model.

    The old model has L layers, and the new model has `layers`. The schemes are:

    - "stack" (progressive stacking): new layer i is a copy of old layer i mod L.
    - "expand" (LLaMA-Pro): each group of L / (layers - L) old layers is followed by a copy of the last layer of the
      group. The `outputs` of this copy are 0, so the new model computes the same function as the old model.
    - "overlap" (depth up-scaling of SOLAR): first the old layers without the last m, then the old layers without the
      first m. `layers` is 2 (L - m).

    Put a rule for the other parameters, `{"*": loaded(source)}`, after this rule.

    Args:
        source: the checkpoint of the old model (see `initlib.loaded`).
        layers: the number of layers of the new model.
        module: the name of the module that holds the layers: "layers" for LLaMA, "h" for GPT-2.
        scheme: "stack", "expand" or "overlap".
        outputs: the patterns of the weights and biases of the last projection of each residual branch. Used only with
            "expand".

    Returns:
        A rule for the parameters of layers.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source has no layers in `module`, or the scheme cannot make this number of layers.

    Example:
        >>> import numpy as np
        >>> from initlib import Parameter, plan
        >>> old = {f"m.layers.{i}.o_proj.weight": np.full((2, 2), i + 1.0, "float32") for i in range(2)}
        >>> deep = [Parameter(f"m.layers.{i}.o_proj.weight", (2, 2)) for i in range(4)]
        >>> weights = plan(deep, grow_depth(old, 4, scheme="expand", outputs=["*.o_proj.*"])).draw(seed=0)
        >>> [float(weight[0, 0]) for weight in weights.values()]
        [1.0, 0.0, 2.0, 0.0]

    Reference:
        Gong et al. Efficient training of BERT by progressively stacking. ICML 2019.
        Wu et al. LLaMA Pro: progressive LLaMA with block expansion. 2024. arXiv:2401.02415.
        Kim et al. SOLAR 10.7B: scaling large language models with simple yet effective depth up-scaling. 2023.
        arXiv:2312.15166.
    """
    name_of_scheme = choice(scheme, "scheme", SCHEMES)
    old = OldModel(source)
    numbered = re.compile(rf"((?:.*?\.)?{re.escape(check_name(module, 'module'))}\.)([0-9]{{1,9}})(\..+)")
    names = [match for name in old.tensors if (match := numbered.fullmatch(str(name)))]
    if not names:
        raise ValueError(f"module must be the module that holds the layers in {old}, got {module!r}")
    old_layers = 1 + max(int(match[2]) for match in names)
    layers = integer(layers, "layers", least=1)
    _check_layers(old_layers, layers, name_of_scheme)
    every = as_patterns(outputs, "outputs") if name_of_scheme == "expand" else []
    ends = [glob(output) for output in every]
    for output, end in zip(every, ends, strict=True):
        if not any(end.fullmatch(match[0]) for match in names):
            raise ValueError(f"each pattern of outputs must match a parameter of a layer in {old}, got {output!r}")

    def copied(parameter: Parameter) -> Fill:
        match = numbered.fullmatch(parameter.name)
        assert match is not None  # the pattern of the rule
        if int(match[2]) >= layers:
            raise ValueError(f"layers must be the number of layers of the model, got {layers} for {parameter.name!r}")
        origin, is_new = _origin(int(match[2]), old_layers, layers, name_of_scheme)
        if is_new and any(end.fullmatch(parameter.name) for end in ends):
            return zeros
        return loaded(source, f"{match[1]}{origin}{match[3]}")

    return {required(numbered, "grow_depth", "layers", "module"): copied}


def _check_layers(old: int, new: int, scheme: str) -> None:
    """Raise ValueError if the scheme does not make that number of new layers from the old ones."""
    if new < old:
        raise ValueError(f"layers must be at least {old}, as in the source, got {new}")
    if scheme == "expand" and new > old and old % (new - old):
        raise ValueError(f"layers must be {old} plus a divisor of {old} for scheme='expand', got {new}")
    if scheme == "overlap" and new > old and (new % 2 or new > 2 * old):
        raise ValueError(f"layers must be even and at most {2 * old} for scheme='overlap', got {new}")


def _origin(layer: int, old: int, new: int, scheme: str) -> tuple[int, bool]:
    """Return the old layer of a new layer, and whether the new layer is one that `expand` inserts."""
    if scheme == "expand" and new > old:
        group = old // (new - old)
        number, at = divmod(layer, group + 1)
        return number * group + min(at, group - 1), at == group
    if scheme == "overlap":
        return layer if layer < new // 2 else layer - (new - old), False
    return layer % old, False
