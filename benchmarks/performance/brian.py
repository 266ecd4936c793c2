"""Brian2's C++ standalone on a network in a file; runs in an environment of its own: `python brian.py IN.npz FOLDER`.

Prints JSON: seconds of its main loop (nothing of code generation or compilation), spikes, steps.
"""

from __future__ import annotations

import json
import sys

import brian2
import numpy as np
from brian2 import Network, NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, Synapses, device, ms, prefs, set_device


def synapses(source: object, target: object, given: object, kind: str) -> Synapses:
    """A synapse adds its weight after thresholds: the weight has leaked once when it is first compared with one."""
    made = Synapses(source, target, "w : 1 (constant)", on_pre="v_post += w")
    made.connect(i=given[f"{kind}_source"].astype(int), j=given[f"{kind}_target"].astype(int))
    made.w = given[f"{kind}_weight"] / given["left"][0]
    return made


def main(path: str, folder: str) -> None:
    """The same wiring, input, thresholds and leaks as integers have; Euler steps of a millisecond."""
    given = np.load(path, allow_pickle=False)
    n_steps = int(given["n_steps"])
    prefs.devices.cpp_standalone.openmp_threads = 0
    set_device("cpp_standalone", directory=folder, build_on_run=False)
    brian2.defaultclock.dt = 1 * ms
    left = float(given["left"][0])
    refractory = (int(given["refractory_steps"]) + 1) * ms  # the spike's own step is counted too
    neurons = NeuronGroup(
        len(given["threshold"]),
        "dv/dt = -(1 - left) * v / ms : 1\ntheta : 1 (constant)",
        threshold="v >= theta",
        reset="v -= theta",
        refractory=refractory,
        method="euler",
        namespace={"left": left},
    )
    neurons.theta = given["threshold"]
    lines = int(given["input_line"].max()) + 1
    inputs = SpikeGeneratorGroup(lines, given["input_line"].astype(int), given["input_step"] * ms)
    into = synapses(inputs, neurons, given, "input")
    among = synapses(neurons, neurons, given, "recurrent")
    spikes = SpikeMonitor(neurons, record=False)
    net = Network(inputs, neurons, into, among, spikes)
    net.run(n_steps * ms)
    device.build(directory=folder, run=False, compile=True)
    seconds = []
    for _ in range(int(given["repeats"])):
        device.run(directory=folder, with_output=False, run_args=[])
        seconds.append(float(device._last_run_time))
    said = {"seconds": seconds, "spikes": int(spikes.num_spikes), "version": brian2.__version__}
    print("\n" + json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
