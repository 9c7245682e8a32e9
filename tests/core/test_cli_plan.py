"""`initlib plan`, `initlib write` and `initlib verify`."""

import numpy as np
import pytest
from checkpoints import LLAMA_RULES, everything, llama, save

import initlib
from initlib import Parameter, loaded, normal, ones, plan, recipes
from initlib.__main__ import main
from initlib.cli import syntax
from initlib.files.header import Header
from initlib.plans.text.table import table

SIZE = ("--max-shard-size", "8KB")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "plan.json"
    everything().save(path)
    return str(path)


def test_a_plan_is_printed(command, saved):
    assert command("plan", saved) == (0, table(everything().entries, True, 100).splitlines(), [])
    assert command("plan", saved, "--all")[1] == everything().table(fold=False).splitlines()


def test_from_a_checkpoint_to_a_plan_to_a_checkpoint(command, saved, tmp_path):
    out, again, new = (str(tmp_path / name) for name in ("out", "again", "new.json"))
    code, lines, _ = command("write", saved, "--seed", "3", "-o", out, *SIZE)
    assert code == 0
    assert lines[0].startswith("wrote 3 files, 18.")
    assert command("write", saved, "--seed", "3", "-o", out, *SIZE) == (
        0,
        [f"nothing to write: {out} has all files"],
        [],
    )
    assert command("verify", saved, out, "--seed", "3") == (
        0,
        [f"{out} is {saved} with seed 3: 9 tensors, samples of every tensor compared"],
        [],
    )
    assert command("verify", saved, out, "--seed", "3", "--all")[1][-1].endswith("every weight compared")
    rules = ("--rule", "*norm*=ones", "--rule", "*=normal:std=0.02")
    code, lines, _ = command("plan", "--like", out, *rules, "--dtype", "bfloat16", "-o", new)
    assert (code, lines) == (0, [f"wrote {new}: 9 tensors, 15.7 kB"])
    made = initlib.Plan.load(new)
    assert made["layers.0.norm.weight"].filling == ones
    assert made["embed.weight"].filling == normal(std=0.02)
    assert command("write", new, "--seed", "0", "-o", again)[0] == 0
    assert made.verify(again, 0) == ()
    assert sorted(command("plan", "--like", again, *rules, "--all")[1]) == sorted(made.table(fold=False).splitlines())


def test_a_difference_gives_exit_status_1(command, saved, tmp_path):
    out = str(tmp_path / "out")
    command("write", saved, "--seed", "3", "-o", out)
    code, lines, err = command("verify", saved, out, "--seed", "4")
    assert (code, len(lines), err) == (1, 7, [])
    assert lines[0] == "'embed.weight' has other values from index (0, 0) on"
    assert lines[-1] == f"{out} is not {saved} with seed 4: 6 differences"


def test_one_process_writes_its_share_of_the_files(command, saved, tmp_path):
    out = tmp_path / "out"
    for files in ("1::2", "::2"):
        assert command("write", saved, "--seed", "3", "-o", str(out), *SIZE, "--only", files)[0] == 0
    assert everything().verify(out, 3, whole=True) == ()


def test_files_are_replaced_only_with_overwrite(command, saved, tmp_path):
    out = str(tmp_path / "out")
    command("write", saved, "--seed", "3", "-o", out)
    code, lines, err = command("write", saved, "--seed", "4", "-o", out)
    assert (code, lines, len(err)) == (2, [], 1)
    assert "overwrite" in err[0]
    assert command("write", saved, "--seed", "4", "-o", out, "--overwrite")[0] == 0
    assert everything().verify(out, 4) == ()


def test_a_plan_replaces_no_file_of_the_checkpoint_that_it_is_made_for(command, saved, tmp_path):
    out = tmp_path / "out"
    command("write", saved, "--seed", "3", "-o", str(out))
    (path,) = out.glob("*.safetensors")
    before = path.read_bytes()
    code, _, err = command("plan", "--like", str(out), "--default", "zeros", "--axes", "*=...", "-o", str(path))
    assert code == 2
    assert err == [f"initlib: output must not be a file of the checkpoint of --like, got '{path}'"]
    assert path.read_bytes() == before


def test_rules_on_the_command_line_fill_tensors():
    assert syntax.fill("keep") is initlib.keep
    assert syntax.fill("normal:std=2") == normal(std=2)


def test_defaults_and_axes_are_read(command, saved, tmp_path):
    out, new = str(tmp_path / "out"), str(tmp_path / "new.json")
    command("write", saved, "--seed", "3", "-o", out)
    given = ("--rule", "*.none=keep", "--default", "glorot_uniform", "--axes", "*.conv.weight=OIHW")
    code, _, err = command("plan", "--like", out, *given, "--axes", "*=...", "-o", new)
    assert (code, err) == (0, [])
    made = initlib.Plan.load(new)
    assert made["layers.0.conv.weight"].parameter.axes == "OIHW"
    assert made["layers.0.none"].kept


def test_recipes_give_rules(command, tmp_path, monkeypatch):
    out = tmp_path / "out"
    plan(llama(layers=2, vocabulary=64, hidden=16, inner=32, keys=8), LLAMA_RULES).write(out, 0)
    kinds = ("--kind", "*norm*=scale", "--kind", "*embed*=table", "--kind", "*=kernel")
    code, lines, err = command("plan", "--like", str(out), *kinds, "--recipe", "llama_depth:width=16,std=0.5", "--all")
    assert (code, err) == (0, [])
    shown = {line.split()[0]: line for line in lines}
    for layer in (0, 1):
        std = 0.5 * (2 * (layer + 1)) ** -0.5
        assert f"truncated_normal(std={std:.6g}," in shown[f"model.layers.{layer}.mlp.down_proj.weight"]
    assert "ones" in shown["model.norm.weight"]
    for text in ("llama_depth(16, std=0.5)", "llama_depth:16,0.5"):
        assert command("plan", "--like", str(out), *kinds, "--recipe", text, "--all") == (0, lines, [])
    first = ("--rule", "model.norm.weight=zeros", "--recipe", "llama_depth:width=16", "--all")
    lines = command("plan", "--like", str(out), *kinds, *first)[1]
    assert "zeros" in next(line for line in lines if line.startswith("model.norm.weight"))
    code, _, err = command("plan", "--like", str(out), "--recipe", "gpt")
    assert (code, len(err)) == (2, 1)
    assert "recipe must be one of bert, " in err[0]
    # Some recipes return a function of all parameters.
    monkeypatch.setattr(recipes, "vit", lambda: lambda parameters: {f"*.{len(parameters) - 20}.*": ones, "*": normal()})
    lines = command("plan", "--like", str(out), "--recipe", "vit", "--all")[1]
    assert next(line.split()[0] for line in lines if "ones" in line).startswith("model.layers.1.")
    assert "'width'" in command("plan", "--like", str(out), "--recipe", "llama_depth")[2][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan"], "plan must have either PLAN.json"),
        (["plan", "p.json", "--like", "x"], "plan must have either PLAN.json"),
        (["plan", "p.json", "--rule", "*=ones", "--dtype", "float16"], "--rule, --dtype must come with --like PATH"),
        (["plan", "--like", "nowhere"], "No such file or directory: 'nowhere'"),
        (["plan", "--like", ".", "--rule", "*=oens"], "initializer must be one of"),
        (["plan", "nowhere.json"], "No such file or directory: 'nowhere.json'"),
        (["write", "nowhere.json", "--seed", "0", "-o", "out"], "No such file or directory: 'nowhere.json'"),
        (["verify", "nowhere.json", "out", "--seed", "0"], "No such file or directory: 'nowhere.json'"),
    ],
)
def test_mistakes_are_one_line(command, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert words in err[0]
    assert list(tmp_path.iterdir()) == []


def test_each_problem_of_a_plan_is_one_line(command, saved, tmp_path):
    out = str(tmp_path / "out")
    command("write", saved, "--seed", "3", "-o", out)
    code, lines, err = command("plan", "--like", out)
    assert (code, lines, err[0]) == (2, [], "initlib: the plan has 9 problems:")
    assert len(err) == 10
    assert any(line.startswith("  - positions: no rule matches") for line in err)


def test_errors_name_the_options_of_the_command_line(command, saved, tmp_path):
    out = str(tmp_path / "out")
    command("write", saved, "--seed", "3", "-o", out)
    code, lines, err = command("plan", "--like", out, "--rule", "*.qkv.*=he_normal", "--default", "zeros")
    assert (code, lines) == (2, [])
    assert any("Pass --axes '" in line and "=OI'" in line for line in err)
    code, _, err = command("write", saved, "--seed", "4", "-o", out)
    assert (code, len(err)) == (2, 1)
    assert err[0].endswith("; pass --overwrite to replace it")


def test_names_from_files_are_escaped(command, tmp_path):
    header = Header.of({"a\x1b[2J\nb": ("float32", (1,))}, {})
    path = tmp_path / "model.safetensors"
    path.write_bytes(header.to_bytes() + bytes(4))
    for arguments in (["audit", str(path)], ["audit", str(path), "--tests"], ["plan", "--like", str(path)]):
        _, out, err = command(*arguments)
        assert all(line.isprintable() for line in (*out, *err))
        assert any(r"a\x1b[2J\nb" in line for line in (*out, *err))


@pytest.mark.parametrize(("options", "status"), [([], 1), (["--fail-on", ""], 0), (["--fail-on", "zeros"], 0)])
def test_audit_fails_where_it_finds_nan(command, tmp_path, options, status):
    np.save(tmp_path / "w.npy", np.array([1.0, np.nan]))
    assert command("audit", str(tmp_path / "w.npy"), *options)[0] == status


@pytest.mark.parametrize(
    "arguments", [["write", "p.json", "-o", "x"], ["write", "p.json", "--seed", "0"], ["verify", "p"]]
)
def test_required_arguments_are_checked(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "required" in capsys.readouterr().err


def test_an_unknown_command_gets_the_nearest_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["plann"])
    assert "; nearest commands: plan" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["3", "a:b", "::0", "-1::2", "1:2:3:4", ""])
def test_a_text_that_is_not_a_slice_is_an_error(capsys, text):
    with pytest.raises(SystemExit, match="2"):
        main(["write", "p.json", "--seed", "0", "-o", "x", f"--only={text}"])
    assert f"must be a slice START:STOP:STEP, such as 3::64, got {text!r}" in capsys.readouterr().err


def test_slices_of_files_are_read():
    assert [syntax.files(text) for text in ("3::64", ":2", "1:", ":", "1:5:2")] == [
        slice(3, None, 64),
        slice(None, 2, None),
        slice(1, None, None),
        slice(None, None, None),
        slice(1, 5, 2),
    ]


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of two blocks with the names of GPT-2; its headers hold no kinds."""
    parameters = [initlib.Parameter("wte.weight", (16, 8))]
    for k in range(2):
        parameters += [
            initlib.Parameter(f"h.{k}.ln_1.weight", (8,)),
            initlib.Parameter(f"h.{k}.attn.c_proj.weight", (8, 8)),
            initlib.Parameter(f"h.{k}.mlp.c_proj.weight", (8, 8)),
            initlib.Parameter(f"h.{k}.mlp.c_proj.bias", (8,)),
        ]
    plan(parameters, normal()).write(tmp_path / "gpt2", seed=0)
    return str(tmp_path / "gpt2")


def test_axes_of_all_tensors_pass_over_vectors(command, checkpoint):
    rules = ("--rule", "*.bias=zeros", "--rule", "*ln_*=ones", "--default", "he_normal")
    code, lines, err = command("plan", "--like", checkpoint, *rules, "--axes", "*=OI")
    assert (code, err) == (0, [])
    assert sum("he_normal" in line for line in lines) == 3  # a line for all blocks


def test_a_recipe_without_kinds_is_an_error_that_shows_the_options(command, checkpoint):
    code, _, err = command("plan", "--like", checkpoint, "--recipe", "gpt2:layers=2")
    assert code == 2
    assert (
        "has rules for kinds (*:kernel, *:table), which a checkpoint does not record. Pass --kind '*.bias=bias'"
        in err[0]
    )
    kinds = ("--kind", "*.bias=bias", "--kind", "*ln_*.weight=scale", "--kind", "wte.weight=table")
    given = ("plan", "--like", checkpoint, "--recipe", "gpt2:layers=2", *kinds, "--axes", "*.weight=OI...")
    code, lines, err = command(*given)
    assert (code, err) == (0, [])
    assert sum("0.01 " in line for line in lines) == 2  # the std of residual outputs, half of the others


def test_a_file_that_is_no_plan_is_an_error_that_shows_how_to_make_one(command, checkpoint, tmp_path):
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "other.safetensors").write_bytes(b"\x88\x00")
    for name, got in (("other.json", "another text"), ("other.safetensors", "a file that is not text")):
        code, _, err = command("write", str(tmp_path / name), "--seed", "0", "-o", str(tmp_path / "out"))
        assert code == 2
        assert f"{name} must be a plan, got {got}. Make a plan: initlib plan --like FOLDER -o plan.json" in err[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--axes", "*.bias=OX"), "is a vector"),
        (("--default", "he_norml"), "got 'he_norml'; nearest names: he_normal"),
        (("--recipe", "gtp2:layers=2"), "got 'gtp2:layers=2'; nearest names: gpt2"),
        (("--default", "he_normal"), "Add the rule --rule '*.bias=zeros'"),
        ((), "Add the rule --rule '*.bias=zeros'"),
        (("--rule", "*.bias=he_normal"), "Pass an initializer without fans: normal(std=0.02)"),
        (("--kind", "*=kernel", "--kind", "wte*=table"), "got 'wte*'. Put narrow patterns before wide patterns"),
    ],
)
def test_a_slip_gets_advice_in_the_language_of_the_command_line(command, checkpoint, arguments, message):
    code, _, err = command("plan", "--like", checkpoint, *arguments)
    assert code == 2
    assert message in "\n".join(err)


def test_a_plan_of_old_weights_reads_the_sources_that_are_named(command, tmp_path):
    old = save(tmp_path / "old.safetensors", {"w": np.ones((2, 3), "float32")})
    path, out = tmp_path / "plan.json", str(tmp_path / "out")
    made = plan([Parameter("w", (2, 3))], {"w": loaded(old) + normal()})
    made.save(path)
    assert 'loaded("old.safetensors", "w") + normal()' in "\n".join(command("plan", str(path))[1])
    code, _, (error,) = command("write", str(path), "--seed", "0", "-o", out)
    assert code == 2
    assert error.endswith(f"must be named before it is read. Pass --source '{old}=PLACE'")
    moved = old.rename(tmp_path / "moved.safetensors")
    source = ("--source", f"{old}={moved}")
    assert command("write", str(path), "--seed", "0", "-o", out, *source)[0] == 0
    assert command("verify", str(path), out, "--seed", "0", *source)[0] == 0
    moved.rename(old)
    assert command("verify", str(path), out, "--seed", "0", "--source", str(old))[0] == 0
    with pytest.raises(SystemExit, match="2"):
        command("verify", str(path), out, "--seed", "0", "--source", "=x")
