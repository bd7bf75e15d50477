"""PyTorch in its own way: modules, fused optimizers, rows gathered as tensors; eager or compiled."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from peers.rows import BUCKETS, FACTORS, MANY, SIZES, UNITS, WIDTHS, field_of

torch.sparse.check_sparse_tensor_invariants.disable()  # said, as it warns otherwise

Array = np.ndarray[Any, Any]
Tensors = dict[str, torch.Tensor]


class Trainer:
    """See `Peer`; with `compiled`, forward and backward are compiled by `torch.compile`.

    On a GPU all rows lie there, and with `captured` the compiled parts are CUDA graphs. Products are of whole
    float32 numbers, as PyTorch has them unless it is told otherwise.
    """

    def __init__(
        self,
        model: str,
        columns: Mapping[str, Array],
        labels: Array,
        batch: int,
        compiled: bool = False,
        captured: bool = False,
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        given = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in columns.items()}
        self.x = {name: values.to(self.device) for name, values in given.items()}
        self.y, self.batch = torch.from_numpy(labels).to(self.device), batch
        self.layers = MODELS[model]().to(self.device)
        self.optimizers = self.layers.optimizers()
        mode = "reduce-overhead" if captured else None
        self.forward = torch.compile(self.layers, dynamic=False, mode=mode) if compiled else self.layers

    def take(self, weights: Mapping[str, Array]) -> None:
        """See `Peer`."""
        self.layers.take(weights)

    def losses(self, batches: Sequence[Array]) -> Iterator[float]:
        """See `Peer`."""
        for rows in batches:
            yield float(self._step(torch.from_numpy(rows).to(self.device)))

    def epoch(self, steps: int) -> float:
        """See `Peer`."""
        order = torch.randperm(len(self.y), device=self.device)[: steps * self.batch]
        self._wait()
        start = time.perf_counter()
        for rows in order.split(self.batch):
            self._step(rows)
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        """Until the GPU has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _step(self, rows: torch.Tensor) -> torch.Tensor:
        x = {name: values.index_select(0, rows) for name, values in self.x.items()}
        loss = bce(self.forward(x), self.y.index_select(0, rows))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach()


class Layers(nn.Module):
    """Layers by their names in the spec; those of a network are made when they are declared."""

    def __init__(self) -> None:
        super().__init__()
        self.named = nn.ModuleDict()

    def add(self, name: str, layer: nn.Module) -> None:
        """A layer by the name that its weights have in the spec."""
        self.named[name.replace(".", "/")] = layer

    def at(self, name: str) -> nn.Module:
        """The layer of this name."""
        return self.named[name.replace(".", "/")]

    def add_mlp(self, name: str, size: int, *widths: int) -> None:
        """The layers of a network."""
        for index, width in enumerate(widths):
            self.add(f"{name}.mlp.{index}", nn.Linear(size, width))
            size = width

    def mlp(self, name: str, value: torch.Tensor, depth: int) -> torch.Tensor:
        """The network of this name on a value [row, size]."""
        for index in range(depth):
            value = torch.relu(self.at(f"{name}.mlp.{index}")(value))
        return value

    @torch.no_grad()
    def take(self, weights: Mapping[str, Array]) -> None:
        """Starts from weights by their names in the spec."""
        for key, layer in self.named.items():
            name = key.replace("/", ".")
            if name in weights:  # a table; that of zeros and ones is a kernel here
                table = torch.from_numpy(weights[name].copy())
                layer.weight.copy_(table if isinstance(layer, nn.Embedding) else table.T)
            else:
                layer.weight.copy_(torch.from_numpy(weights[f"{name}.kernel"].T.copy()))
                layer.bias.copy_(torch.from_numpy(weights[f"{name}.bias"].copy()))


class DeepFM(Layers):
    """The model of `specs/deepfm`, with a fused Adam over all rows of tables."""

    def __init__(self) -> None:
        super().__init__()
        for use, sizes in SIZES.items():
            for field, size in sizes.items():
                for kind, width in (("e", FACTORS), ("first", 1)):
                    layer = nn.Linear(size, width, bias=False) if field == MANY else nn.Embedding(size, width)
                    self.add(f"{use}.{kind}.{field}", layer)
            self.add_mlp(f"{use}.deep", FACTORS * len(sizes), 256, 32)
        self.add_mlp("logit", 64, 256, 256, 32)
        self.add("logit.dense", nn.Linear(32, 1))

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [Adam(self.parameters(), 0.001, fused=True)]

    def forward(self, x: Tensors) -> torch.Tensor:
        e, first, deep = [], [], []
        for use, sizes in SIZES.items():
            own = [self.at(f"{use}.e.{field}")(x[field]) for field in sizes]
            first += [self.at(f"{use}.first.{field}")(x[field]) for field in sizes]
            deep.append(self.mlp(f"{use}.deep", torch.cat(own, 1), 2))
            e += own
        v = sum(e)
        squares = sum(each.square().sum(1, keepdim=True) for each in e)
        top = self.mlp("logit", torch.cat(deep, 1), 3)
        pairs = 0.5 * (v.square().sum(1, keepdim=True) - squares)
        return sum(first) + pairs + self.at("logit.dense")(top)


class WideDeep(Layers):
    """Wide & Deep with DeepRec's sizes: Adagrad for the network, FTRL for the linear part."""

    def __init__(self) -> None:
        super().__init__()
        for table, width in WIDTHS.items():
            self.add(table, nn.Embedding(BUCKETS, width, sparse=True))
            self.add(f"first.{field_of(table)}", nn.Embedding(BUCKETS, 1))
        self.add("wide.dense", nn.Linear(13, 1))
        self.add_mlp("deep", 13 + sum(WIDTHS.values()), *UNITS)
        self.add("deep.dense", nn.Linear(UNITS[-1], 1))

    def optimizers(self) -> list[torch.optim.Optimizer]:
        parts: dict[str, list[nn.Parameter]] = {"tables": [], "wide": [], "deep": []}
        for name, weight in self.named_parameters():
            first = name.split(".")[1].partition("/")[0]
            parts[{"deep": "deep", "first": "wide", "wide": "wide"}.get(first, "tables")].append(weight)
        rest = {"initial_accumulator_value": 0.1, "eps": 0}
        return [
            torch.optim.Adagrad(parts["tables"], 0.01, **rest),
            torch.optim.Adagrad(parts["deep"], 0.01, fused=True, **rest),
            Ftrl(parts["wide"], 0.2),
        ]

    def forward(self, x: Tensors) -> torch.Tensor:
        e = [self.at(table)(x[field_of(table)]) for table in WIDTHS]
        first = [self.at(f"first.{field_of(table)}")(x[field_of(table)]) for table in WIDTHS]
        deep = self.mlp("deep", torch.cat([x["numbers"], *e], 1), len(UNITS))
        return sum(first) + self.at("wide.dense")(x["numbers"]) + self.at("deep.dense")(deep)


class Adam(torch.optim.Adam):
    """Adam as Keras and vflc have it: `eps` is added before the correction of bias."""

    def step(self) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        self.steps = getattr(self, "steps", 0) + 1
        group["eps"] = 1e-7 / math.sqrt(1 - group["betas"][1] ** self.steps)
        super().step()


class Ftrl(torch.optim.Optimizer):
    """Follow the regularized leader without penalties (McMahan et al. 2013), which PyTorch has not."""

    def __init__(self, weights: list[nn.Parameter], rate: float, initial: float = 0.1) -> None:
        super().__init__(weights, {"rate": rate})
        self.linear = [torch.zeros_like(weight) for weight in weights]
        self.squares = [torch.full_like(weight, initial) for weight in weights]

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        weights, rate = group["params"], group["rate"]
        gradients = [weight.grad for weight in weights]
        before = torch._foreach_sqrt(self.squares)
        torch._foreach_addcmul_(self.squares, gradients, gradients)
        after = torch._foreach_sqrt(self.squares)
        sigma = torch._foreach_div(torch._foreach_sub(after, before), rate)
        torch._foreach_add_(self.linear, torch._foreach_sub(gradients, torch._foreach_mul(sigma, weights)))
        made = torch._foreach_div(torch._foreach_mul(self.linear, -rate), after)
        torch._foreach_copy_(weights, made)


MODELS = {"deepfm": DeepFM, "wide_deep": WideDeep}
