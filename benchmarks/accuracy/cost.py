"""What a model costs: numbers to store, multiply-adds for a recording, bytes with 8-bit weights.

The front end is the same for all rows of a table: its tables are in everybody's bytes, its work in nobody's
multiply-adds. Nobody's square roots, exponentials, comparisons and activations are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

BIAS_BYTES = 4  # as in CMSIS-NN: weights int8, biases int32
NODE_BYTES = 8  # of a decision tree in emlearn: feature, value, left, right


@dataclass(frozen=True)
class Cost:
    """`n_bytes` are without the front end's tables."""

    parameters: int
    multiply_adds: int
    n_bytes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.multiply_adds + other.multiply_adds,
            self.n_bytes + other.n_bytes,
        )


def dense(inputs: int, outputs: int, times: int = 1) -> Cost:
    """A layer with biases, applied `times` times."""
    return Cost((inputs + 1) * outputs, times * inputs * outputs, (inputs + BIAS_BYTES) * outputs)


def layers(*sizes: int) -> Cost:
    """A multi-layer perceptron."""
    total = Cost(0, 0, 0)
    for inputs, outputs in pairwise(sizes):
        total += dense(inputs, outputs)
    return total


def forest(n_decisions: int) -> Cost:
    """Decision trees: comparisons only."""
    return Cost(n_decisions, 0, NODE_BYTES * n_decisions)


def echo_state(n_units: int, synapses: int, n_frames: int, readout: Cost) -> Cost:
    """Sparse weights, which need a 16-bit index each, and a leak: one multiply-add more a unit and frame."""
    return Cost(synapses, n_frames * (synapses + n_units), 3 * synapses) + readout


def minirocket(n_features: int, kernel_channels: int, n_frames: int, n_classes: int) -> Cost:
    """Biases, channel choices and readout; the 84 kernels of weights -1 and 2 are fixed.

    A kernel of nine taps is shared by the features of one dilation: three additions of a shifted sum a frame and
    channel after the sums that all kernels share (A. Dempster et al., KDD (2021), section 3.2), and a comparison a
    feature.
    """
    readout = dense(n_features, n_classes)
    convolutions = 3 * kernel_channels * n_frames
    return readout + Cost(n_features + kernel_channels, convolutions, 2 * n_features + kernel_channels)


def gru(n_bands: int, n_hidden: int, n_classes: int, n_frames: int) -> Cost:
    """Gated recurrent units (three gates, two biases each as in PyTorch) and a dense layer."""
    weights = 3 * n_hidden * (n_bands + n_hidden)
    biases = 6 * n_hidden
    gates = Cost(weights + biases, n_frames * (weights + 3 * n_hidden), weights + BIAS_BYTES * biases)
    return gates + dense(n_hidden, n_classes)


def convolution(kernel: int, inputs: int, outputs: int, positions: int) -> Cost:
    """`kernel` weights an input channel (1 for depthwise); batch normalisation is folded into weights and biases."""
    weights = kernel * inputs * outputs
    return Cost(weights + outputs, positions * weights, weights + BIAS_BYTES * outputs)


def ds_cnn(n_channels: int, n_blocks: int, kernel: int, positions: int, n_classes: int) -> Cost:
    """A convolution and depthwise-separable blocks at `positions` in time and frequency, a mean, a dense layer."""
    total = convolution(kernel, 1, n_channels, positions)
    for _ in range(n_blocks):
        total += convolution(9, 1, n_channels, positions) + convolution(1, n_channels, n_channels, positions)
    return total + dense(n_channels, n_classes)
