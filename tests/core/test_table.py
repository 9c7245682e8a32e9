import re

import pytest

from initlib import Parameter, he_normal, icnr, keep, normal, orthogonal, parts, plan, truncated_normal, values, zeros
from initlib.plans.text.describe import described
from initlib.plans.text.table import table

QKV = parts({"q.weight": 2, "k.weight": 1, "v.weight": (1, normal(std=0.02))}, he_normal)


def model():
    return [
        Parameter("embed.weight", (20, 8), "bfloat16", kind="table", padding=0, tied=("head.weight",)),
        *(Parameter(f"h.{i}.attn.qkv.weight", (16, 8), axes="OI", kind="kernel") for i in range(3)),
        *(Parameter(f"h.{i}.norm.weight", (8,), kind="scale") for i in range(3)),
        Parameter("scan.kernel", (4, 8, 2), axes="BIO", kind="kernel"),
        Parameter("positions", (4,)),
        Parameter("ids", (4,), "int64", kind="buffer"),
        Parameter("temperature", (), kind="scale"),
    ]


RULES = {"*.qkv.*": QKV, "scan.*": parts("scan.{i}.kernel", orthogonal()), "positions": values([0, 1, 2, 3])}

FOLDED = """\
name                      shape  dtype     axes  fan_in  fan_out  initializer          std  bytes  notes
embed.weight              20x8   bfloat16                         normal(std=0.02)    0.02    320  tied: head.weight; row 0 zero
h.{0..2}.attn.qkv.weight  16x8   float32   OI                     3 parts                   1,536
  q.weight                8x8              OI         8        8  he_normal            0.5
  k.weight                4x8              OI         8        4  he_normal            0.5
  v.weight                4x8              OI         8        4  normal(std=0.02)    0.02
h.{0..2}.norm.weight      8      float32                          ones                   0     96
scan.kernel               4x8x2  float32   BIO                    4 parts                     256
  {0..3}.kernel           8x2              IO         8        2  orthogonal()      0.3536
positions                 4      float32                          values             1.118     16
ids                       4      int64                            keep                         32
temperature               ()     float32                          ones                   0      4
11 parameters, 641 weights, 2,260 bytes"""  # noqa: E501


def test_the_table_has_a_row_for_each_folded_layer():
    table = plan(model(), RULES, default=he_normal)
    assert table.table() == str(table) == FOLDED
    whole = table.table(fold=False).splitlines()
    assert len(whole) == len(FOLDED.splitlines()) + 2 * 4 + 2
    assert [line.split()[0] for line in whole if line.startswith("h.")] == [
        p.name for p in model() if "h." in p.name[:2]
    ]


@pytest.mark.parametrize("width", [60, 70, 80, 100, 110])
def test_a_table_fits_the_width(width):
    entries = plan(model(), RULES, default=he_normal).entries
    lines = table(entries, True, width).splitlines()
    assert max(map(len, lines[:-1])) <= max(width, 89)
    assert "    note: tied: head.weight; row 0 zero" in lines
    assert table(entries, True, 200) == FOLDED


def test_long_names_and_initializers_wrap():
    name = "model.layers.0.self_attn.a_projection_of_a_long_name.weight"
    entries = plan([Parameter(name, (3,))], truncated_normal(std=0.0123456789, low=-1.5, high=2.5) * 0.25).entries
    header, *lines, _ = table(entries, True, 100).splitlines()
    assert max(map(len, (header, *lines))) <= 100
    start, end = header.index("initializer"), header.index("std") - 7
    assert "".join(line[:24].strip() for line in lines) == name
    text = "".join(line[start:end].strip() for line in lines).replace(" ", "")
    assert re.sub(r"0\.0+3086", "", text) == "truncated_normal(std=0.0123457,low=-1.5,high=2.5)*0.25"


def test_the_bytes_of_the_rows_add_up():
    lines = plan(model(), RULES, default=he_normal).table().splitlines()
    sizes = [
        int(re.search(r"  ([0-9,]+)(  tied.*)?$", line)[1].replace(",", "")) for line in lines[1:-1] if line[0] != " "
    ]
    assert lines[-1].endswith(f" {sum(sizes):,} bytes")


def test_rows_have_the_facts_of_each_tensor():
    rows = plan(model(), RULES, default=he_normal).to_dicts()
    assert [row["name"] for row in rows] == [parameter.name for parameter in model()]
    assert rows[1] == {
        "name": "h.0.attn.qkv.weight",
        "stream": "h.0.attn.qkv.weight",
        "kind": "kernel",
        "shape": (16, 8),
        "dtype": "float32",
        "axes": "OI",
        "fan_in": None,
        "fan_out": None,
        "initializer": "3 parts",
        "std": None,
        "bytes": 512,
        "notes": [],
        "parts": [
            {
                "name": f"h.0.attn.{name}.weight",
                "shape": (rows, 8),
                "axes": "OI",
                "fan_in": 8,
                "fan_out": rows,
                "initializer": initializer,
                "std": std,
            }
            for name, rows, initializer, std in (
                ("q", 8, "he_normal", 0.5),
                ("k", 4, "he_normal", 0.5),
                ("v", 4, "normal(std=0.02)", 0.02),
            )
        ],
    }
    assert rows[0]["notes"] == ["tied: head.weight", "row 0 zero"]
    assert rows[0]["parts"] == []
    assert (rows[-2]["initializer"], rows[-2]["std"]) == ("keep", None)


def test_kept_parts_have_no_row():
    table = plan([Parameter("qkv", (4, 2))], {"*": parts({"q": 1, "k": (1, keep)}, zeros)})
    (row,) = table.to_dicts()
    assert row["initializer"] == "1 part"
    assert [part["name"] for part in row["parts"]] == ["q"]


@pytest.mark.parametrize(
    ("filling", "text"),
    [
        (he_normal, "he_normal"),
        (zeros, "zeros"),
        (keep, "keep"),
        (normal(std=0.02), "normal(std=0.02)"),
        (normal(0.5), "normal(mean=0.5)"),
        (normal(), "normal()"),
        (normal(std=0.02) * 24**-0.5, "normal(std=0.02) * 0.204124"),
        (orthogonal(), "orthogonal()"),
        (truncated_normal(std=0.02), "truncated_normal(std=0.02, low=-0.04, high=0.04)"),
        (icnr(he_normal, 2), "icnr(initializer=he_normal, upscale=2)"),
        (values([1, 2]), "values(float64[2])"),
    ],
    ids=repr,
)
def test_fills_are_described_in_few_words(filling, text):
    assert described(filling) == text
