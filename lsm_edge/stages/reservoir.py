"""The liquid: one step of every leaky integrate-and-fire (LIF) neuron.

Order of one step, fixed, and the same words in `firmware/kernels/reservoir.h`:

    deliver    spikes that are due now add their weights to the recurrent current of their targets
    decay      v = decay(v, leak)
    integrate  v = saturate(v + input current + (recurrent current << weight_shift))
    refractory a neuron that is resting counts down and cannot fire
    fire       otherwise it fires if v >= threshold
    reset      a neuron that fired: v = v - threshold (or 0), and it rests for refractory_steps
    emit       its spike will be due delay_steps later

`docs/numerics.md` section 4. Model: W. Gerstner et al., Neuronal Dynamics (2014), chapter 1.3, in discrete time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsm_edge.fixed import Ints, decay_q15, saturate_int16
from lsm_edge.model import Model
from lsm_edge.stages.encoder import synapse_matrix


@dataclass
class Liquid:
    """State of a batch of liquids; all arrays lead with the clip axis."""

    v: Ints
    refractory: Ints
    pending: NDArray[np.bool_]  # (clips, slots, neurons): spikes under way, by the slot of the step they are due at
    slot: int

    @classmethod
    def at_rest(cls, model: Model, clips: int) -> Liquid:
        """All zero."""
        n, slots = model.manifest.reservoir.n_neurons, model.manifest.reservoir.max_delay_steps
        zeros = np.zeros((clips, n), np.int64)
        return cls(zeros, zeros.copy(), np.zeros((clips, slots, n), bool), 0)


def step(model: Model, liquid: Liquid, current: Ints) -> NDArray[np.bool_]:
    """Advance by one step under `current` (clips, neurons); returns who fired, (clips, neurons)."""
    reservoir = model.manifest.reservoir
    threshold = model["threshold"].astype(np.int64)

    recurrent: Ints | int = 0
    if reservoir.n_synapses:
        due = liquid.pending[:, liquid.slot]
        recurrent = due.astype(np.int64) @ recurrent_matrix(model)
        liquid.pending[:, liquid.slot] = False

    v = decay_q15(liquid.v, model["leak_q15"].astype(np.int64))
    v = saturate_int16(v + current + (recurrent << reservoir.weight_shift))
    resting = liquid.refractory > 0
    fired = ~resting & (v >= threshold)
    v = np.where(fired, v - threshold if reservoir.reset == "subtract" else 0, v)
    liquid.refractory = np.where(fired, reservoir.refractory_steps, liquid.refractory - resting)
    liquid.v = v

    if reservoir.n_synapses:
        arrival = (liquid.slot + model["delay_steps"].astype(np.int64)) % reservoir.max_delay_steps
        liquid.pending[:, arrival, np.arange(reservoir.n_neurons)] |= fired
        liquid.slot = (liquid.slot + 1) % reservoir.max_delay_steps
    return fired


def recurrent_matrix(model: Model) -> Ints:
    """The recurrent synapses as a dense matrix (sources, targets)."""
    return synapse_matrix(model, "recurrent")
