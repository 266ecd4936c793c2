"""Training networks in PyTorch: AdamW, one cycle of the learning rate, batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from benchmarks.accuracy.cost import Cost
from benchmarks.accuracy.scene import Frames, Sounds

BATCH = 32
RATE = 3e-3
DECAY = 1e-4  # with 1e-2 and smoothed labels the DS-CNN loses ten points on an unheard speaker
SORTED_BATCHES = 8  # so many are drawn together and sorted by length: short recordings are not padded to long ones
SHORTEST = 9  # frames

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A trained network on frames standardised by the training part's mean and deviation."""

    net: nn.Module
    mean: Floats
    deviation: Floats
    counted: Callable[[int], Cost]

    def classify(self, frames: Frames) -> NDArray[np.int64]:
        """See `Peer`."""
        self.net.eval()
        found = np.zeros(len(frames), np.int64)
        order = np.argsort([len(segment) for segment in frames], kind="stable")
        with torch.no_grad():
            for part in np.array_split(order, max(1, len(order) // 128)):
                inputs = [torch.from_numpy(standard(frames[i], self.mean, self.deviation)) for i in part]
                found[part] = self.net(*batch(inputs, self.silence)).argmax(dim=1).numpy()
        return found

    def cost(self, n_frames: int) -> Cost:
        """See `Peer`."""
        return self.counted(n_frames)

    @property
    def silence(self) -> torch.Tensor:
        """A frame of zeros, standardised."""
        return torch.from_numpy(-self.mean / self.deviation)


def standard(segment: NDArray[np.uint8], mean: Floats, deviation: Floats) -> Floats:
    """Bytes as the network sees them."""
    return (segment.astype(np.float32) - mean) / deviation


def batch(inputs: list[torch.Tensor], silence: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Recordings as (recordings, frames, bands), silence after the shorter ones, and how long each is."""
    lengths = torch.tensor([len(x) for x in inputs])
    padded = silence.repeat(len(inputs), max(int(lengths.max()), SHORTEST), 1)
    for row, x in zip(padded, inputs, strict=True):
        row[: len(x)] = x
    return padded, lengths


def train_network(
    build: Callable[[], nn.Module],
    counted: Callable[[int], Cost],
    sounds: Sounds,
    seed: int,
    *,
    epochs: int,
) -> Network:
    """`counted` tells the cost for a number of frames."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    flat = np.concatenate(sounds.frames)
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.maximum(flat.std(axis=0, dtype=np.float64), 1.0).astype(np.float32)
    net = build()
    network = Network(net, mean, deviation, counted)
    inputs = [torch.from_numpy(standard(segment, mean, deviation)) for segment in sounds.frames]
    targets = torch.from_numpy(sounds.targets)
    steps = max(1, len(inputs) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * steps)
    draw = np.random.default_rng(seed)
    net.train()
    for _ in range(epochs):
        for part in _batches(draw, np.array([len(x) for x in inputs]), steps):
            scores = net(*batch([inputs[i] for i in part], network.silence))
            loss = functional.cross_entropy(scores, targets[part])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            schedule.step()
    return network


def _batches(draw: np.random.Generator, lengths: NDArray[np.int64], steps: int) -> Iterator[NDArray[np.int64]]:
    order = draw.permutation(len(lengths))
    chunks = np.array_split(order, max(1, len(order) // (BATCH * SORTED_BATCHES)))
    order = np.concatenate([chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks])
    parts = [order[i * BATCH : (i + 1) * BATCH] for i in range(steps)]
    for i in draw.permutation(len(parts)):
        yield parts[i]
