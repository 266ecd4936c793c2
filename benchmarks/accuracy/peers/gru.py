"""64 gated recurrent units (PyTorch), the mean of their states over the recording, a dense layer."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from benchmarks.accuracy import cost
from benchmarks.accuracy.peers.network import Network, train_network
from benchmarks.accuracy.scene import Sounds

N_HIDDEN = 64


class Recurrent(nn.Module):
    """(recordings, frames, bands) and lengths -> scores."""

    def __init__(self, n_bands: int, n_classes: int) -> None:
        super().__init__()
        self.units = nn.GRU(n_bands, N_HIDDEN, batch_first=True)
        self.drop = nn.Dropout(0.3)
        self.scores = nn.Linear(N_HIDDEN, n_classes)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Frames beyond a recording's length count for nothing."""
        states, _ = self.units(x)
        inside = (torch.arange(states.shape[1]) < lengths[:, None]).to(x.dtype)
        mean = torch.einsum("ktn,kt->kn", states, inside) / lengths[:, None]
        scores: torch.Tensor = self.scores(self.drop(mean))
        return scores


def fit(sounds: Sounds, seed: int, *, epochs: int) -> Network:
    """See `train_network`."""
    n_bands, n_classes = sounds.n_bands, len(sounds.labels)
    counted = partial(cost.gru, n_bands, N_HIDDEN, n_classes)
    return train_network(lambda: Recurrent(n_bands, n_classes), counted, sounds, seed, epochs=epochs)
