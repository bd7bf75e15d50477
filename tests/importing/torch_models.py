"""Models of PyTorch as people write them, exported: `python torch_models.py FOLDER [SCRIPT]`, where torch is.

For each model, MODEL.default.onnx, MODEL.legacy.onnx and, in float64, MODEL.double.onnx, with inputs and
outputs in MODEL.npz; and the labels of five steps of SGD in float64, and the parameters after them. Then
the script runs in the folder: torch takes seconds until it first exports.
"""

from __future__ import annotations

import contextlib
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

ROWS, STEPS, RATE = 8, 5, 0.1
IDS = {"user": 11, "item": 7, "city": 5}
OPEN = ("deepfm", "mmoe")
"""Whose file in float64 is exported with a batch of any size, which takes a second; the others' as of old."""


class LogisticRegression(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x))


class DeepFM(nn.Module):
    def __init__(self, k=4):
        super().__init__()
        self.factors = nn.ModuleList(nn.Embedding(n, k) for n in IDS.values())
        self.first = nn.ModuleList(nn.Embedding(n, 1) for n in IDS.values())
        self.bias = nn.Parameter(torch.zeros(1))
        self.deep = nn.Sequential(
            nn.Linear(3 * k, 16), nn.ReLU(), nn.Dropout(0.0), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1)
        )

    def forward(self, user, item, city):
        ids = (user, item, city)
        e = torch.stack([table(i) for table, i in zip(self.factors, ids, strict=True)], 1)
        linear = torch.cat([table(i) for table, i in zip(self.first, ids, strict=True)], 1).sum(
            1, keepdim=True
        )
        pairs = 0.5 * (e.sum(1) ** 2 - (e**2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.bias + linear + pairs + self.deep(e.flatten(1))).squeeze(1)


class WideAndDeep(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.ModuleDict({name: nn.Embedding(n, 1) for name, n in IDS.items()})
        self.deep = nn.ModuleDict({name: nn.Embedding(n, 4) for name, n in IDS.items()})
        self.numbers = nn.Linear(1, 4)
        self.norm = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 8), nn.LeakyReLU(), nn.Linear(8, 4), nn.LeakyReLU())
        self.head = nn.Linear(4, 1)

    def forward(self, user, item, city, price):
        ids = {"user": user, "item": item, "city": city}
        wide = sum(self.wide[name](i) for name, i in ids.items())
        x = torch.cat([self.deep[name](i) for name, i in ids.items()] + [F.gelu(self.numbers(price))], dim=-1)
        return torch.sigmoid(wide + self.head(self.mlp(self.norm(x))))


class DCN(nn.Module):
    """Cross layers of both versions over embeddings and a number."""

    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(IDS["user"], 4), nn.Embedding(IDS["item"], 4)
        self.w = nn.ParameterList(nn.Parameter(torch.zeros(9)) for _ in range(2))
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(9)) for _ in range(2))
        self.cross = nn.ModuleList(nn.Linear(9, 9) for _ in range(2))
        self.out = nn.Linear(18, 1)

    def forward(self, user, item, price):
        x0 = torch.cat([self.user(user), self.item(item), price], 1)
        x = y = x0
        for w, b in zip(self.w, self.b, strict=True):
            x = x0 * (x @ w).unsqueeze(1) + b + x
        for layer in self.cross:
            y = x0 * layer(y) + y
        return torch.sigmoid(self.out(torch.cat([x, y], 1)))


class MMoE(nn.Module):
    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU()) for _ in range(3)
        )
        self.gates = nn.ModuleList(nn.Linear(6, 3) for _ in range(2))
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)) for _ in range(2)
        )

    def forward(self, x):
        experts = torch.stack([expert(x) for expert in self.experts], dim=1)
        shares = [F.softmax(gate(x), dim=-1) for gate in self.gates]
        first = (shares[0].unsqueeze(-1) * experts).sum(1)
        second = torch.einsum("bn,bnh->bh", shares[1], experts)
        return torch.sigmoid(self.towers[0](first)), torch.sigmoid(self.towers[1](second))


class TwoTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(IDS["user"], 8), nn.Embedding(IDS["item"], 8)
        self.query = nn.Sequential(nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 4))
        self.candidate = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, user, age, item):
        query = F.normalize(self.query(torch.cat([self.user(user), age], 1)), dim=1)
        candidate = F.normalize(self.candidate(self.item(item)), dim=1)
        return (query * candidate).sum(1)


class OneTensor(nn.Module):
    """All ids in one input, moved to rows of their own in one table."""

    def __init__(self):
        super().__init__()
        self.register_buffer("offsets", torch.tensor([0, 11, 18]))
        self.embedding = nn.Embedding(23, 4)
        self.fc = nn.Linear(12, 1)

    def forward(self, x):
        return torch.sigmoid(self.fc(self.embedding(x + self.offsets).view(-1, 12)).squeeze(1))


class Mixed(nn.Module):
    """One input of numbers, of which some are ids; normalization, a learned slope, parts of vectors."""

    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(IDS["item"], 4)
        self.bn, self.slope = nn.BatchNorm1d(3), nn.PReLU()
        self.scale, self.out = nn.Parameter(torch.tensor(1.5)), nn.Linear(7, 3)

    def forward(self, x):
        numbers = self.slope(self.bn(x[:, 1:])) * self.scale
        head, rest = torch.cat([self.item(x[:, 0].long()), numbers], 1).split([2, 5], dim=1)
        h = torch.cat([F.silu(head), F.softplus(rest).clamp(max=2.0)], 1)
        return F.softmax(self.out(torch.where(h > 0.5, h, h.abs() + 0.1)), dim=1)


def given(generator, **more):
    """Ids by name, and numbers of so many columns."""
    found = {}
    for name, size in more.items():
        if isinstance(size, str):
            found[name] = torch.randint(IDS[name], (ROWS,), generator=generator)
        else:
            found[name] = torch.randn(ROWS, size, generator=generator)
    return found


def models(generator):
    """Each model, with what it reads."""
    ids = dict.fromkeys(IDS, "ids")
    columns = torch.stack([torch.randint(n, (ROWS,), generator=generator) for n in (11, 7, 5)], 1)
    mixed = torch.cat([torch.randint(7, (ROWS, 1), generator=generator).float(), torch.randn(ROWS, 3)], 1)
    return {
        "logistic": (LogisticRegression(), given(generator, x=5)),
        "deepfm": (DeepFM(), given(generator, **ids)),
        "wide_deep": (WideAndDeep(), given(generator, **ids, price=1)),
        "dcn": (DCN(), given(generator, user="ids", item="ids", price=1)),
        "mmoe": (MMoE(), given(generator, x=6)),
        "two_tower": (TwoTower(), given(generator, user="ids", age=1, item="ids")),
        "one_tensor": (OneTensor(), {"x": columns}),
        "mixed": (Mixed(), {"x": mixed}),
    }


def export(model, inputs, path, way):
    args = tuple(inputs.values())
    if way == "default":
        torch.onnx.export(model, args, path)
    elif way == "open":
        shapes = tuple({0: torch.export.Dim("batch")} for _ in args)
        torch.onnx.export(model, args, path, dynamic_shapes=shapes, external_data=False)
    else:
        axes = {name: {0: "batch"} for name in inputs}
        torch.onnx.export(model, args, path, dynamo=False, input_names=list(inputs), dynamic_axes=axes)


def outputs(model, inputs):
    found = model(*inputs.values())
    return list(found) if isinstance(found, tuple) else [found]


def steps(model, inputs, labels):
    """Plain SGD on all rows; a number is squared error, a probability cross-entropy."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = 0.0
        for found, label in zip(outputs(model, inputs), labels, strict=True):
            known = isinstance(model, TwoTower)
            one = F.mse_loss if known else F.binary_cross_entropy
            loss = loss + one(found.reshape(-1), label)
        loss.backward()
        optimizer.step()


def main(folder):
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(5)
    for name, (model, inputs) in models(generator).items():
        for parameter in model.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean.normal_(generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
        model.eval()
        saved = {f"in_{key}": value.numpy() for key, value in inputs.items()}
        saved |= {f"out_{i}": value.detach().numpy() for i, value in enumerate(outputs(model, inputs))}
        for way in ("default", "legacy"):
            export(model, inputs, folder / f"{name}.{way}.onnx", way)
        if name != "mixed":
            wide = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
            count = len(outputs(model, inputs))
            labels = [torch.randint(2, (ROWS,), generator=generator).double() for _ in range(count)]
            saved |= {f"label_{i}": label.numpy() for i, label in enumerate(labels)}
            model.double()
            export(model, wide, folder / f"{name}.double.onnx", "open" if name in OPEN else "legacy")
            steps(model, wide, labels)
            saved |= {f"after_{key}": value.detach().numpy() for key, value in model.state_dict().items()}
        np.savez(folder / f"{name}.npz", **saved)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    for script in sys.argv[2:]:
        with contextlib.chdir(sys.argv[1]):
            runpy.run_path(script)
