"""Models of `torch.nn` whose weights the adapter draws: they train."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import initlib.adapters.torch as init


class ResNetBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.first = nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=False)
        self.second = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(16) for _ in range(3)])
        self.head = nn.Linear(16, 4)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                init.ones_(module.weight)
                init.zeros_(module.bias)
        init.he_normal_(self.first.weight, axes="(4 O)IHW")
        init.normal_(self.head.weight, 0, 0.01)
        init.constant_(self.head.bias, 0)

    def forward(self, x):
        x = functional.relu(self.norms[0](self.stem(x)))
        y = functional.relu(self.norms[1](self.first(x)))
        x = functional.relu(x + self.norms[2](self.second(y)))
        return self.head(x.mean(dim=(2, 3)))

    @staticmethod
    def batch():
        return torch.randn(16, 3, 6, 6)


class TransformerBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(20, 32, padding_idx=0)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(32) for _ in range(2)])
        self.feed = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 4)
        init.trunc_normal_(self.tokens.weight, std=0.02)
        with torch.no_grad():
            self.tokens.weight[0].fill_(0)
        init.glorot_uniform_(self.attention.in_proj_weight, axes="(3 O)I")
        for layer in (self.feed[0], self.feed[2], self.head, self.attention.out_proj):
            init.xavier_uniform_(layer.weight, gain=init.calculate_gain("gelu"))
            init.zeros_(layer.bias)

    def forward(self, x):
        x = self.tokens(x)
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.feed(self.norms[1](x))).mean(dim=1))

    @staticmethod
    def batch():
        return torch.randint(0, 20, (16, 6))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 4)
        init.uniform_(self.tokens.weight, -1.0, 1.0)
        init.glorot_uniform_(self.lstm.weight_ih_l0, axes="(4 O)I")
        init.orthogonal_(self.lstm.weight_hh_l0, axes="(4 O)I")
        init.zeros_(self.lstm.bias_ih_l0)
        init.sparse_(self.head.weight, 0.5, std=0.5)

    def forward(self, x):
        return self.head(self.lstm(self.tokens(x))[0][:, -1])

    @staticmethod
    def batch():
        return torch.randint(0, 20, (16, 6))


@pytest.mark.parametrize("build", [ResNetBlock, TransformerBlock, Recurrent])
def test_the_loss_falls(build):
    torch.manual_seed(0)
    model = build()
    x, y = model.batch(), torch.randint(0, 4, (16,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("build", [ResNetBlock, TransformerBlock, Recurrent])
def test_manual_seed_makes_the_same_model(build):
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(torch.cat([parameter.flatten() for parameter in build().parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_modules_whose_own_reset_uses_the_replacement(monkeypatch):
    """All modules of `torch.nn` draw by the adapter if it replaces `torch.nn.init`."""
    for name in init.__all__:
        if name.endswith("_") and hasattr(nn.init, name):
            monkeypatch.setattr(nn.init, name, getattr(init, name))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4), nn.LayerNorm(4))
    conv, lstm, attention = nn.ConvTranspose2d(4, 6, 3, groups=2), nn.LSTM(4, 6), nn.MultiheadAttention(8, 2)
    assert all(torch.isfinite(p).all() for module in (model, conv, lstm, attention) for p in module.parameters())
    bound = (1 / 8) ** 0.5
    assert 0.8 * bound < model[0].weight.abs().max() <= bound
    assert nn.Embedding(5, 3, padding_idx=1).weight[1].eq(0).all()
