"""The DS-CNN of MLPerf Tiny's keyword spotting (PyTorch): a convolution, four depthwise-separable blocks, a mean.

C. Banbury et al., NeurIPS Datasets and Benchmarks (2021); Y. Zhang et al., arXiv:1711.07128. There 49 frames of 10
cepstra every 20 ms; here the project's bands, two frames averaged (16 ms), so the first layer's stride is four bands.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from benchmarks.accuracy import cost
from benchmarks.accuracy.peers.network import Network, train_network
from benchmarks.accuracy.scene import Sounds

N_CHANNELS = 64
N_BLOCKS = 4
KERNEL = (10, 4)  # pairs of frames, bands
STRIDE = (2, 4)


class DepthwiseSeparable(nn.Module):
    """(recordings, frames, bands) and lengths -> scores."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, N_CHANNELS, KERNEL, STRIDE, padding=(4, 0), bias=False), nn.BatchNorm2d(N_CHANNELS), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(layer for _ in range(N_BLOCKS) for layer in _block()))
        self.scores = nn.Linear(N_CHANNELS, n_classes)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Positions beyond a recording's length count for nothing in the mean."""
        x = functional.avg_pool2d(x[:, None], (2, 1), ceil_mode=True)
        x = self.blocks(functional.dropout(self.first(x), 0.2, self.training))
        lasting = torch.clamp((lengths + 3) // 4, max=x.shape[2])
        inside = (torch.arange(x.shape[2]) < lasting[:, None]).to(x.dtype)
        mean = torch.einsum("kctb,kt->kc", x, inside) / (lasting * x.shape[3])[:, None]
        scores: torch.Tensor = self.scores(functional.dropout(mean, 0.4, self.training))
        return scores


def _block() -> list[nn.Module]:
    return [
        nn.Conv2d(N_CHANNELS, N_CHANNELS, 3, padding=1, groups=N_CHANNELS, bias=False),
        nn.BatchNorm2d(N_CHANNELS),
        nn.ReLU(),
        nn.Conv2d(N_CHANNELS, N_CHANNELS, 1, bias=False),
        nn.BatchNorm2d(N_CHANNELS),
        nn.ReLU(),
    ]


def positions(n_frames: int, n_bands: int) -> int:
    """Where the first layer's kernel is put."""
    return ((n_frames + 3) // 4) * ((n_bands - KERNEL[1]) // STRIDE[1] + 1)


def fit(sounds: Sounds, seed: int, *, epochs: int) -> Network:
    """See `train_network`."""
    n_bands, n_classes = sounds.n_bands, len(sounds.labels)

    def counted(n_frames: int) -> cost.Cost:
        return cost.ds_cnn(N_CHANNELS, N_BLOCKS, KERNEL[0] * KERNEL[1], positions(n_frames, n_bands), n_classes)

    return train_network(lambda: DepthwiseSeparable(n_classes), counted, sounds, seed, epochs=epochs)
