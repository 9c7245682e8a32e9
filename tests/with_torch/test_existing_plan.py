"""An existing plan in place of rules: the same weights as by the rules, and every difference from the model at once."""

import pytest
import torch
from torch import nn

from initlib import Plan, PlanError, he_normal, keep, normal, ones, zeros
from initlib.adapters.torch import initialize, plan, skeleton, verify


def model():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Embedding(5, 3, padding_idx=1), nn.Linear(8, 2))


def bits(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


RULES = {"0.weight": normal(std=0.1), "0.bias": keep, "*:bias": ones}


def loaded(made, folder):
    made.save(folder / "plan.json")
    return Plan.load(folder / "plan.json")


def test_a_plan_gives_the_bits_of_the_rules_that_made_it(tmp_path):
    torch.manual_seed(0)
    by_rules, by_plan = model(), model()
    by_plan.load_state_dict(by_rules.state_dict())
    made = plan(by_rules, RULES, default=he_normal)
    initialize(by_rules, RULES, seed=3, default=he_normal)
    assert initialize(by_plan, loaded(made, tmp_path), seed=3) == made
    assert same(bits(by_rules), bits(by_plan))
    assert not verify(by_plan, made, seed=3)


def test_the_given_plan_is_returned():
    made = plan(model(), he_normal)
    assert initialize(model(), made, seed=0) is made


def test_kept_entries_stay_and_tied_tensors_stay_tied():
    def tied():
        module = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 8))
        module[1].weight = module[0].weight
        return module

    made = plan(tied(), {"1.bias": keep}, default=normal(std=0.02))
    module = tied()
    before = module[1].bias.detach().clone()
    initialize(module, made, seed=0)
    assert torch.equal(module[1].bias, before)
    assert module[1].weight is module[0].weight
    assert (module[0].weight.detach().numpy() == made.draw(0)["0.weight"]).all()


def test_a_plan_fills_a_skeleton_in_new_memory():
    with skeleton():
        module = model()
    made = plan(module, he_normal)
    initialize(module, made, seed=0, device="cpu")
    other = model()
    initialize(other, he_normal, seed=0)
    assert same(bits(module), bits(other))


def test_a_model_that_a_plan_has_filled_has_its_constructor_values_recorded():
    module, other = model(), model()
    initialize(module, plan(module, zeros), seed=0)
    initialize(other, zeros, seed=0)
    assert plan(module, he_normal) == plan(other, he_normal)


def test_a_part_of_a_model_takes_its_entries_from_the_plan_of_the_full_model():
    full = nn.ModuleDict({"encoder": model(), "head": nn.Linear(2, 2)})
    made = initialize(full, he_normal, seed=0)
    part = model()
    returned = initialize(part, made, seed=0, prefix="encoder")
    assert same(bits(part), bits(full.encoder))
    assert [entry.parameter.name for entry in returned.entries] == [
        f"encoder.{name}" for name, _ in part.named_parameters()
    ]


def test_a_parameter_tied_to_one_outside_of_the_part_is_filled():
    full = nn.ModuleDict({"encoder": nn.Embedding(8, 4), "head": nn.Linear(4, 8, bias=False)})
    full.head.weight = full.encoder.weight
    made = initialize(full, normal(), seed=0)
    part = nn.Embedding(8, 4)
    initialize(part, made, seed=0, prefix="encoder")
    assert torch.equal(part.weight, full.encoder.weight)


def test_only_selects_tensors_of_an_existing_plan():
    module = model()
    made = plan(module, he_normal)
    before = bits(module)
    returned = initialize(module, made, seed=0, only="3.*")
    assert [entry.parameter.name for entry in returned.entries if not entry.kept] == ["3.weight", "3.bias"]
    assert (module[3].weight.detach().numpy() == made.draw(0)["3.weight"]).all()
    assert torch.equal(module[0].weight, before["0.weight"])
    with pytest.raises(ValueError, match=r"only must match a parameter, got '4\.\*'"):
        initialize(module, made, seed=0, only="4.*")


def test_buffers_that_a_rule_fills_are_filled_by_an_existing_plan():
    def rotary():
        module = nn.Linear(2, 2)
        module.register_buffer("angles", torch.zeros(4))
        return module

    made = plan(rotary(), {"angles:buffer": normal()}, default=he_normal)
    module = rotary()
    assert initialize(module, made, seed=0) is made
    assert (module.angles.numpy() == made.draw(0)["angles"]).all()
    with pytest.raises(PlanError, match="angles: the plan has this parameter, and the model does not"):
        initialize(nn.Linear(2, 2), made, seed=0)


def test_all_differences_are_listed_and_nothing_is_written():
    made = plan(model(), he_normal)
    module = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(8).double(), nn.Embedding(5, 3), nn.Identity(), nn.PReLU())
    before = bits(module)
    with pytest.raises(PlanError) as caught:
        initialize(module, made, seed=0)
    assert caught.value.problems == (
        "0.weight: shape must be (8, 4), as in the plan, got (9, 4)",
        "0.bias: shape must be (8,), as in the plan, got (9,)",
        "1.weight: dtype must be float32, as in the plan, got float64",
        "1.bias: dtype must be float32, as in the plan, got float64",
        "4.weight: the plan has no parameter of this name",
        "3.weight: the plan has this parameter, and the model does not",
        "3.bias: the plan has this parameter, and the model does not",
    )
    assert same(bits(module), before)


def test_other_ties_than_those_of_the_plan_are_differences():
    separate = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    tied = nn.Sequential(separate[0], nn.Linear(4, 4, bias=False))
    tied[1].weight = tied[0].weight
    with pytest.raises(PlanError) as caught:
        initialize(tied, plan(separate, he_normal), seed=0)
    assert caught.value.problems == ("0.weight: names must be 0.weight, as in the plan, got 0.weight and 1.weight",)
    with pytest.raises(PlanError) as caught:
        initialize(separate, plan(tied, he_normal), seed=0)
    assert caught.value.problems == (
        "0.weight: names must be 0.weight and 1.weight, as in the plan, got 0.weight",
        "1.weight: names must be 0.weight and 1.weight, as in the plan, got 1.weight",
    )


UNSHARED = [
    ("encoder.", {}, "", "Pass prefix='encoder'"),
    ("encoder.", {"prefix": "decoder"}, "decoder.", "Pass prefix='encoder'"),
    ("", {"prefix": "decoder"}, "decoder.", "Leave out prefix="),
]


@pytest.mark.parametrize(("before", "arguments", "given", "advice"), UNSHARED, ids=[row[3] for row in UNSHARED])
def test_a_plan_without_any_of_the_names_has_one_problem_with_advice(before, arguments, given, advice):
    made = plan(model(), he_normal, prefix=before)
    with pytest.raises(PlanError) as caught:
        initialize(model(), made, seed=0, **arguments)
    assert caught.value.problems == (
        f"the plan must have the parameters of the model, got names such as '{before}0.weight' in the plan and "
        f"'{given}0.weight' in the model. {advice}",
    )


def test_a_plan_of_a_part_or_of_another_model_advises_no_prefix():
    full = nn.ModuleDict({"encoder": model(), "head": nn.Linear(2, 2)})
    with pytest.raises(PlanError, match=r"'encoder\.0\.weight' in the model\. Pass the part 'encoder' of the model$"):
        initialize(full, plan(model(), he_normal), seed=0)
    other = nn.ModuleDict({"patch": nn.Conv2d(3, 4, 2), "head": nn.Linear(4, 2)})
    with pytest.raises(PlanError, match=r"'patch\.weight' in the model\. Pass a plan of this model$"):
        initialize(other, plan(model(), he_normal), seed=0)


@pytest.mark.parametrize(
    "argument", [{"default": zeros}, {"rename": {"0.*": "a.*"}}, {"axes": {"0.weight": "OI"}}, {"unmatched": "keep"}]
)
def test_an_argument_that_only_makes_plans_is_an_error(argument):
    (name,) = argument
    with pytest.raises(TypeError, match=f"{name} must be left out if rules is a Plan"):
        initialize(model(), plan(model(), he_normal), seed=0, **argument)
