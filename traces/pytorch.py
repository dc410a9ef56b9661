# SPDX-License-Identifier: GPL-2.0-only
"""PyTorch: a small language model; its attention matrices grow with batch and with the square of the words.

PyTorch calls us for each operation that it runs, and a storage that nobody uses any more is freed at once: so the
steps are those of the run itself, views and results in place included.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.guest.trace import Step, Trace
from traces.lifetimes import Inference, compose

NAME = "pytorch-language"
BATCHES = (1, 8, 2, 16, 1, 4)
LAYERS = 2
WORDS = 192
"""Tokens in each sample."""
VOCABULARY = 2000
WIDTH = 256
HEADS = 8


class _Layer(nn.Module):
    """Attention and a feed-forward network, each with its residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.mix = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, data: Any) -> Any:
        attended = self.attend(self.norm1(data))
        data = data + attended
        return data + self.narrow(nn.functional.gelu(self.wide(self.norm2(data))))

    def attend(self, data: Any) -> Any:
        batch, words, _ = data.shape

        def heads(projected: Any) -> Any:
            return projected.view(batch, words, HEADS, WIDTH // HEADS).transpose(1, 2)

        scores = heads(self.query(data)) @ heads(self.key(data)).transpose(2, 3)
        weights = torch.softmax(scores / (WIDTH // HEADS) ** 0.5, dim=-1)
        mixed = (weights @ heads(self.value(data))).transpose(1, 2).reshape(batch, words, WIDTH)
        return self.mix(mixed)


class _Model(nn.Module):
    """Tokens to the probabilities of what comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.Sequential(*(_Layer() for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Any) -> Any:
        return torch.softmax(self.head(self.layers(self.embedding(tokens))), dim=-1)


class _Recorder(TorchDispatchMode):
    """Notes every storage that an operation makes, when it comes and when it goes."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self._known = known
        self._live: dict[int, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, torch.Tensor):
                self.note(value, str(func).removeprefix("aten."))
        return out

    def note(self, tensor: Any, name: str) -> None:
        """A tensor that may be new."""
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address in self._known or address in self._live or not storage.nbytes():
            return
        name = f"{len(self.steps)}.{name}"
        self._live[address] = name
        self.steps.append(Step(name, storage.nbytes()))
        weakref.finalize(storage, self._gone, address)

    def name_of(self, tensor: Any) -> str:
        return self._live[tensor.untyped_storage().data_ptr()]

    def _gone(self, address: int) -> None:
        self.steps.append(Step(self._live.pop(address)))


def _run(model: Callable[[Any], Any], weights: dict[str, Any], batch: int) -> Inference:
    tokens = torch.zeros((batch, WORDS), dtype=torch.int64)
    recorder = _Recorder({tensor.untyped_storage().data_ptr() for tensor in weights.values()})
    recorder.note(tokens, "tokens")
    with recorder, torch.no_grad():
        result = model(tokens)
    kept = (recorder.name_of(tokens), recorder.name_of(result))
    return Inference(tuple(recorder.steps), kept)


def record() -> Trace:
    """Run the model at all batch sizes."""
    model = _Model().eval()
    weights = dict(model.named_parameters())
    inferences = [_run(model, weights, batch) for batch in BATCHES]
    sizes = {name: tensor.untyped_storage().nbytes() for name, tensor in weights.items()}
    words = f"language model, {LAYERS} layers of width {WIDTH}, {HEADS} heads, {WORDS} tokens, float32"
    release = torch.__version__.partition("+")[0]
    return Trace(NAME, f"torch {release}", words, BATCHES, compose(sizes, inferences))
