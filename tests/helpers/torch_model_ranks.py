"""A program that initializes one model under every layout on processes over gloo; the gathered state is the same."""

import hashlib
import itertools
import sys
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
import torch.multiprocessing as multiprocessing
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import initlib.adapters.torch as init
from initlib import PlanError, constant, keep, normal, orthogonal, parts, zeros

WIDTH, TOKENS, DEPTH = 12, 23, 2


class RMSNorm(nn.Module):
    """A norm that multiplies by 1 + weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        return nn.functional.rms_norm(x, (WIDTH,), 1 + self.weight)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = RMSNorm()
        self.mix = nn.Linear(WIDTH, 2 * WIDTH)  # two weights in one
        self.out = nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.gamma = nn.Parameter(torch.full((WIDTH,), 0.1))

    def forward(self, x):
        return x + self.gamma * self.out(self.mix(self.norm(x)).tanh())


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(TOKENS, WIDTH, padding_idx=TOKENS - 2)
        self.layers = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, TOKENS, bias=False)

    def forward(self, tokens):
        x = self.table(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class Tied(Model):
    def __init__(self):
        super().__init__()
        self.head.weight = self.table.weight


RULES = {
    "layers.*.mix.weight": parts({"up.weight": 1, "gate.weight": (2, orthogonal(0.5))}, normal(std=0.3)),
    "layers.1.out.weight": orthogonal(),
}
# Rules for the values that constructors set, which sharded memory does not show.
BUILT = {"*.norm.weight:RMSNorm": zeros, "*.gamma": constant(0.1)}


def initialize(model, **more):
    return init.initialize(model, RULES, seed=5, default=normal(std=0.02), **more)


def whole(tensor):
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def digest(state):
    """Return the hash of a gathered state."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        hasher.update(name.encode() + whole(tensor).numpy().tobytes())
    return hasher.hexdigest()


def alone(cls):
    model = cls()
    initialize(model)
    return model


def shard(model, mesh, **more):
    for layer in model.layers:
        fully_shard(layer, mesh=mesh, **more)
    fully_shard(model, mesh=mesh, **more)


def parallelize(model, mesh):
    plan = {f"layers.{i}.mix": ColwiseParallel() for i in range(DEPTH)}
    plan |= {f"layers.{i}.out": RowwiseParallel() for i in range(DEPTH)}
    parallelize_module(model, mesh, plan)


def layouts(world):
    """Yield the name of each layout, whether the model has an untied head, and the function that shards a model."""
    line = init_device_mesh("cpu", (world,), mesh_dim_names=("data",))
    yield "fully_shard", Tied, lambda model: shard(model, line)
    yield "fully_shard", Model, lambda model: shard(model, line)
    yield "offload", Model, lambda model: shard(model, line, offload_policy=CPUOffloadPolicy(pin_memory=False))
    yield "tensor parallel", Model, lambda model: parallelize(model, line)
    if world == 4:
        grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicas", "shards"))
        yield "hybrid", Model, lambda model: shard(model, grid)

        def both(model):
            parallelize(model, grid["shards"])
            shard(model, grid["replicas"])

        yield "2 x 2", Model, both


def check_layouts(world):
    for name, cls, lay_out in layouts(world):
        expected = alone(cls)
        with init.skeleton():
            late = cls()
        early = cls()
        for model, device in ((late, "cpu"), (early, None)):
            lay_out(model)
            if device is None:  # a module's own memory, which no skeleton remembers
                init.initialize(model, RULES | BUILT, seed=5, default=normal(std=0.02))
            else:
                with CommDebugMode() as communication:
                    initialize(model, device=device)
                assert communication.get_total_counts() == 0
            assert digest(model.state_dict()) == digest(expected.state_dict()), (name, cls)
            train(model, expected)


def train(model, expected):
    """Check that one step under the layout does the same as without it."""
    tokens = torch.arange(16).view(2, 8) % TOKENS
    losses = [cross_entropy(each(tokens).flatten(0, 1), tokens.flatten()) for each in (model, expected)]
    first, second = (whole(loss) if isinstance(loss, DTensor) else loss for loss in losses)
    assert torch.allclose(first, second, atol=1e-5), (first, second)


def own_code(model):
    """Run a model's own initialization, which does not handle shards."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.1, 0.1)
        elif isinstance(module, nn.Embedding):
            module.reset_parameters()
        elif isinstance(module, Block):
            nn.init.trunc_normal_(module.gamma, std=0.5, a=-0.5, b=0.5)
            module.out.weight.data.normal_(std=0.02)


def check_own_code(world):
    """Check that the model's own code draws by name, also if it rejects and draws again."""
    expected = Model()
    with init.named(expected, seed=5):
        own_code(expected)
    assert expected.layers[0].gamma.abs().max() <= 0.5
    for name, cls, lay_out in layouts(world):
        if cls is Model:
            model = cls()
            lay_out(model)
            with init.named(model, seed=5):
                own_code(model)
            drawn = {name: tensor for name, tensor in model.state_dict().items() if "norm" not in name}
            assert digest(drawn) == digest({name: expected.state_dict()[name] for name in drawn}), name
            refused = "must fill a slice of each axis|may be a copy of a part of a parameter"
            with init.named(model, seed=5), torch.no_grad(), pytest.raises(RuntimeError, match=refused):
                model.layers[0].mix.weight[2:7].normal_()


def check_checkpoint(world, folder):
    """Check that a state saved under one layout loads under another layout."""
    expected = alone(Model)
    _, _, first = next(each for each in layouts(world) if each[1] is Model)
    _, _, second = [each for each in layouts(world) if each[1] is Model][-1]
    with init.skeleton():
        saved = Model()
    first(saved)
    initialize(saved, device="cpu")
    checkpoint.save({"model": saved.state_dict()}, checkpoint_id=folder)
    loaded = Model()
    second(loaded)
    state = {"model": loaded.state_dict()}
    checkpoint.load(state, checkpoint_id=folder)
    loaded.load_state_dict(state["model"])
    assert digest(loaded.state_dict()) == digest(expected.state_dict())


def wrapped(cls, original):
    return FullyShardedDataParallel(
        cls(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=original, device_id=torch.device("cpu")
    )


def gathered(model):
    """Return the full parameters of a model that the wrapper has flattened."""
    with FullyShardedDataParallel.summon_full_params(model):
        return {
            name.replace("_fsdp_wrapped_module.", ""): tensor.detach().clone()
            for name, tensor in model.named_parameters(remove_duplicate=False)
        }


def check_flat(world):
    """Check flat shards: ranges of the weights, with any start and end."""
    for cls, original in itertools.product((Model, Tied), (True, False)):
        model = wrapped(cls, original)
        made = init.initialize(model, RULES | BUILT, seed=5, default=normal(std=0.02))
        expected = alone(cls)
        assert {name for entry in made.entries for name in entry.parameter.names} == set(expected.state_dict())
        assert made["layers.1.mix.weight"].parameter.shape == (2 * WIDTH, WIDTH)
        assert digest(gathered(model)) == digest(expected.state_dict()), (cls, original)
        train(model, expected)


def own_code_without_fans(model):
    """Run initialization that can draw into a range; PyTorch's functions that need fans refuse ranges."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
            if module.bias is not None:
                module.bias.data.uniform_(-0.1, 0.1)
        elif isinstance(module, nn.Embedding):
            module.weight.data.uniform_(-1, 1)
        elif isinstance(module, Block):
            nn.init.trunc_normal_(module.gamma, std=0.5, a=-0.5, b=0.5)
            nn.init.trunc_normal_(module.out.weight, a=0.5, b=3.0)


def check_own_code_of_flat_shards(world):
    """Check that flat shards are drawn by name and range, or refused, and never depend on the ranks."""
    expected = {}
    for code in (own_code, own_code_without_fans):
        model = Model()
        with init.named(model, seed=5):
            code(model)
        expected[code] = {name: tensor for name, tensor in model.state_dict().items() if "norm" not in name}

    def agrees(model, code):
        state = gathered(model)
        assert digest({name: state[name] for name in expected[code]}) == digest(expected[code])

    for original in (True, False):
        model = wrapped(Model, original)
        with init.named(model, seed=5), FullyShardedDataParallel.summon_full_params(model):
            own_code(model)
        agrees(model, own_code)
        with FullyShardedDataParallel.summon_full_params(model):
            init.initialize(model, RULES | BUILT, seed=5, default=normal(std=0.02))  # gathered in this context
        assert digest(gathered(model)) == digest(alone(Model).state_dict())
        if original or world == 1:
            with init.named(model, seed=5):
                own_code_without_fans(model)
            agrees(model, own_code_without_fans)
        else:
            with init.named(model, seed=5), pytest.raises(RuntimeError, match="whose memory was freed"):
                own_code_without_fans(model)


def check_parts_of_ranges(world):
    """Check draws of a rank that holds a range: the range, a part of it, or a temporary tensor of its size."""
    model, alone = wrapped(Model, original=True), Model()
    with init.named(alone, seed=5):
        expected = noise(alone.table.weight).flatten()
    with init.named(model, seed=5):
        model.table.weight.data.normal_()
    weight, whole = model.table.weight, gathered(model)["table.weight"].flatten()
    sizes = [None] * world
    dist.all_gather_object(sizes, weight.numel())
    start = sum(sizes[: dist.get_rank()])
    assert torch.equal(weight.flatten(), whole[start : start + weight.numel()])
    with init.named(model, seed=5):
        assert torch.equal(noise(weight).flatten(), expected[start : start + weight.numel()])
    if 0 < weight.numel() < whole.numel():
        weight.data.zero_()
        with init.named(model, seed=5):
            weight.data[2:7].normal_()
            assert torch.equal(weight[2:7], whole[start + 2 : start + 7])
            assert weight[7:].eq(0).all()
            with pytest.raises(RuntimeError, match=r"a part of table.weight must fill a slice"):
                weight.data[::2].normal_()
            for draw in (weight.data.exponential_, lambda: weight.data.copy_(torch.rand(1))):
                with pytest.raises(RuntimeError, match=r"of table.weight|for table.weight.*: draw in `summon_full"):
                    draw()
        assert torch.equal(weight[2:7], whole[start + 2 : start + 7])


def noise(weight):
    return torch.randn_like(weight)


def check_parts_of_shards(world):
    """Check that a write to a part of a shard reaches the shard, or is refused if it would be lost."""
    mesh = init_device_mesh("cpu", (world,))
    weight = nn.Parameter(distribute_tensor(torch.full((8, 6), 9.0), mesh, [Shard(0)]))
    fills = (init.zeros_, init.ones_, lambda t: init.constant_(t, 0.0), lambda t: init.normal_(t, seed=0))
    for fill, part in itertools.product(fills, (lambda: weight[3], lambda: weight.data[2:5])):
        if world > 1:
            with pytest.raises(ValueError, match="got a copy of a slice"):
                fill(part())
            assert whole(weight).eq(9).all()
        else:
            fill(part())
            assert not whole(weight)[3].eq(9).any()
    init.zeros_(weight[:, 1])
    assert whole(weight)[:, 1].eq(0).all()
    with pytest.raises(ValueError, match="shape must be None for a DTensor"):
        init.fill_(weight, normal(), seed=0, shape=(16, 6), index=slice(8))


def check_replicas(world):
    """Check data parallelism: each rank draws the full model, without a broadcast."""
    model = Model()
    parallel = DistributedDataParallel(model, init_sync=False)
    made = initialize(parallel)
    assert made == initialize(Model())
    states = [None] * world
    dist.all_gather_object(states, digest(model.state_dict()))
    assert set(states) == {digest(alone(Model).state_dict())}


def check_reports(world):
    """Check that the report of a parallel model is that of the model, and that shards of FSDP are refused."""
    line = init_device_mesh("cpu", (world,))
    tokens = torch.arange(2 * WIDTH).reshape(2, WIDTH) % TOKENS
    expected = init.signals(alone(Model), tokens)
    model = Model()
    parallelize(model, line)
    initialize(model)
    report = init.signals(model, tokens)
    assert [row.name for row in report.parameters] == [row.name for row in expected.parameters]
    for row, wanted in zip(report.parameters, expected.parameters, strict=True):
        both = [[each.std, each.gradient_std, each.top_singular_value or 0.0] for each in (row, wanted)]
        assert both[0] == pytest.approx(both[1], rel=1e-4)
    audited = [(row.name, row.std) for row in init.audit(model).tensors]
    assert audited == [(row.name, row.std) for row in init.audit(alone(Model)).tensors]
    model = Model()
    shard(model, line)
    with pytest.raises(ValueError, match="model must not be sharded by FSDP"):
        init.signals(model, tokens)
    with pytest.raises(ValueError, match="model must not be sharded, because each rank would scale by its own batch"):
        init.lsuv_(model, tokens)
    assert len(init.audit(model).tensors) == len(audited)
    if world == 1:
        return  # FSDP shards nothing
    flat = FullyShardedDataParallel(Model(), device_id=torch.device("cpu"), use_orig_params=True)
    tests = [row.test for row in init.audit(flat).tensors if row.name == "head.weight"]
    assert tests == [
        "not measured: this rank holds a flat shard of the parameter. Audit the unsharded model, or its checkpoint"
    ]
    with pytest.raises(ValueError, match="model must not be sharded by FSDP"):
        init.signals(flat, tokens)


def check_spectral_norm(world):
    """Check that a spectral norm, which needs the full weight, is an error before anything is written."""
    model = nn.Sequential(nn.Linear(8, 8), nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)))
    fully_shard(model, mesh=init_device_mesh("cpu", (world,)))
    before = whole(model[0].weight).clone()
    name = "1.parametrizations.weight.original"
    with pytest.raises(PlanError, match=r"1\.weight: the estimates of the spectral norm need the full weight"):
        init.initialize(model, {name: normal(std=0.02)}, seed=0, default=normal(std=0.02))
    assert torch.equal(whole(model[0].weight), before)
    init.initialize(model, {name: keep}, seed=0, default=normal(std=0.02))
    assert not torch.equal(whole(model[0].weight), before)


def check_stages(world):
    """Check two pipeline stages, each with some of the names and its own prefix."""
    rank = dist.get_rank()
    expected = alone(Model).state_dict()
    model = Model()
    if rank % 2 == 0:
        model.norm = model.head = None
        del model.layers[1]
    else:
        model.table = None
        model.layers = nn.ModuleDict({"1": model.layers[1]})
    rules = {pattern: rule for pattern, rule in RULES.items() if rank % 2 or "1" not in pattern}
    init.initialize(model, rules, seed=5, default=normal(std=0.02))
    states = [None] * world
    dist.all_gather_object(states, {name: whole(tensor) for name, tensor in model.state_dict().items()})
    joined = {name: tensor for state in states for name, tensor in state.items()}
    assert digest(joined) == digest(expected)


def check_own_init_differs(world):
    """Check that the state of PyTorch's own initialization depends on the number of ranks."""
    line = init_device_mesh("cpu", (world,))
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    torch.manual_seed(0)
    sharded = nn.Linear(8, 8)
    fully_shard(sharded, mesh=line)
    torch.manual_seed(0)
    sharded.reset_parameters()
    assert (digest(sharded.state_dict()) == digest(model.state_dict())) == (world == 1)


def main(rank, world, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    check_layouts(world)
    check_own_code(world)
    check_flat(world)
    check_own_code_of_flat_shards(world)
    check_parts_of_ranges(world)
    check_parts_of_shards(world)
    check_replicas(world)
    check_reports(world)
    check_spectral_norm(world)
    check_checkpoint(world, str(Path(store).with_name("checkpoint")))
    if world > 1:
        check_stages(world)
    check_own_init_differs(world)
    dist.destroy_process_group()


if __name__ == "__main__":
    for world in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            # Forked, so that PyTorch is imported once.
            multiprocessing.start_processes(main, (world, str(Path(folder) / "store")), world, start_method="fork")
        print(f"{world} ranks: {digest(alone(Model).state_dict())[:8]}")
