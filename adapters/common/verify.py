"""Comparison of a live model with a plan, for every framework. Tensors are paired by name."""

from collections.abc import Iterable, Sequence
from itertools import compress

from initlib.adapters.common.selection import Only, selected
from initlib.checkpoints.compare import Comparison, Difference, Differences
from initlib.checkpoints.held import HeldTensor
from initlib.key import Seed, as_key
from initlib.plans.parameter import Parameter
from initlib.plans.plan import Plan


def check_plan(plan: Plan) -> None:
    """Raise TypeError unless the argument is a plan."""
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be an initlib.Plan, as plan(...) returns, got a {type(plan).__name__}")


def compare_model(
    plan: Plan,
    seed: Seed,
    tensors: Sequence[HeldTensor],
    buffers: Iterable[HeldTensor] = (),
    *,
    whole: bool,
    only: Only,
) -> Differences:
    """Return the differences between the tensors of a model and a plan; only buffers that the plan names count."""
    check_plan(plan)
    if seed is None:
        raise TypeError("seed must be the seed under which the model was initialized, got None")
    by_name = {name: tensor for tensor in (*buffers, *tensors) for name in tensor.names}
    planned = {name for entry in plan.entries for name in entry.parameter.names}
    extra = [tensor for tensor in tensors if planned.isdisjoint(tensor.names)]
    parameters = [entry.parameter for entry in plan.entries]
    parameters += [Parameter(tensor.names[0], tensor.shape, tied=tensor.names[1:]) for tensor in extra]
    chosen, _ = selected(only, parameters, by_name.keys() - planned)
    comparison = Comparison(plan.entries, as_key(seed), whole=whole)
    differences = []
    for entry in compress(plan.entries, chosen):
        names = entry.parameter.names
        if by_name.keys().isdisjoint(names):
            differences.append(Difference(entry.parameter.name, "is missing"))
        pairs = {id(by_name[name]): name for name in reversed(names) if name in by_name}  # a tied tensor once
        compared = [comparison.difference(entry, name, by_name[name]) for name in reversed(pairs.values())]
        differences += [difference for difference in compared if difference is not None]
    for tensor in compress(extra, chosen[len(plan.entries) :]):
        differences.append(Difference(tensor.names[0], "is not in the plan"))
    return comparison.result(differences)
