"""A plan with every feature of plans, for tests that write to disk and read back."""

import numpy as np

import initlib
from initlib import Parameter, he_normal, normal, ones, orthogonal, parts, plan, values


def everything():
    """Return a plan of tensors of all dtypes, in parts, of zero size, tied, padded, composed and constant."""
    parameters = [
        Parameter("embed.weight", (64, 24), "bfloat16", kind="table", tied=("lm_head.weight",), padding=3),
        Parameter("layers.0.qkv.weight", (72, 24), "bfloat16", axes="OI", kind="kernel"),
        Parameter("layers.0.conv.weight", (16, 24, 3, 3), "float16", axes="OIHW", kind="kernel"),
        Parameter("layers.0.square.weight", (24, 24), "float32", axes="OI", kind="kernel"),
        Parameter("layers.0.norm.weight", (24,), "float32", kind="scale"),
        Parameter("layers.0.scale", (), "float64"),
        Parameter("layers.0.none", (0, 5), "float32"),
        Parameter("positions", (6, 4), "float32"),
        Parameter("head.é weight", (500,), "float16"),
    ]
    rules = {
        "*.qkv.weight": parts({"q.weight": 24, "k.weight": 24, "v.weight": 24}),
        "*.q.weight": he_normal,
        "*.k.weight": orthogonal(),
        "*.v.weight": normal(std=0.02),
        "*.conv.weight": he_normal,
        "*.square.weight": orthogonal(),
        "*.norm.weight": ones,
        "positions": values(np.arange(24.0).reshape(6, 4)),
        "*": normal(std=0.02),
    }
    return plan(parameters, rules)


def contents(folder):
    """Return the bytes of every file in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read(path):
    """Return the tensors of a file, as bytes with their dtypes and shapes, by the safetensors library."""
    import safetensors

    return {name: (each["dtype"], tuple(each["shape"]), each["data"]) for name, each in safetensors.deserialize(path)}


def llama(layers=32, vocabulary=128256, hidden=4096, inner=14336, keys=1024, dtype="bfloat16"):
    """Return the parameters of a model like LLaMA 3; the default sizes are those of the 8B model."""
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    yield Parameter("model.embed_tokens.weight", (vocabulary, hidden), dtype)
    for layer in range(layers):
        for name, shape in shapes.items():
            axes = "OI" if len(shape) == 2 else None
            yield Parameter(f"model.layers.{layer}.{name}.weight", shape, dtype, axes=axes)
    yield Parameter("model.norm.weight", (hidden,), dtype)
    yield Parameter("lm_head.weight", (vocabulary, hidden), dtype, axes="OI")


LLAMA_RULES = {"*norm.weight": ones, "*": initlib.normal(std=0.02)}


def save(path, arrays):
    """Write arrays as a safetensors file; return its path."""
    from initlib.files.header import Header

    header = Header.of({name: (array.dtype.name, array.shape) for name, array in arrays.items()}, {})
    path.write_bytes(header.to_bytes() + b"".join(arrays[name].tobytes() for name in header.tensors))
    return path


def save_index(folder, files):
    """Write files of arrays and their index; return the folder."""
    import json

    for name, arrays in files.items():
        save(folder / name, arrays)
    weight_map = {tensor: name for name, arrays in files.items() for tensor in arrays}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder
