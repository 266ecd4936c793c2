"""What was found about a model -> what to do about it, in plain words.

One rule a function: it returns a sentence, or None if there is nothing to say. Every threshold is in `Limits`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lsm_edge.evaluation.evaluate import Evaluation
from lsm_edge.evaluation.robustness import AFTER, BABBLE, BEFORE, GAIN, WHITE


@dataclass(frozen=True)
class Limits:
    """From where on something is worth a word. Shares are in 0 to 1, points in per cent of accuracy."""

    silent_share: float = 0.05
    saturated_share: float = 0.02
    window_points: float = 0.5  # a window without which the accuracy falls less carries nothing
    noise_db: int = 10
    noise_points: float = 10.0
    gain_db: int = -20
    gain_points: float = 5.0
    shift_ms: int = 160
    shift_points: float = 5.0
    confused_share: float = 0.05
    confused_recordings: int = 3
    group_points: float = 7.5  # and its 95 % interval must lie below the mean
    interval_points: float = 10.0
    flip_points: float = 10.0
    left_over: float = 0.01
    branching_ratio: float = 1.0
    generalisation_share: float = 0.5
    live_reach_ms: float = 100.0


LIMITS: Final = Limits()


def advise(found: Evaluation) -> list[str]:
    """What every rule has to say, in the order of `RULES`."""
    return [sentence for rule in RULES if (sentence := rule(found)) is not None]


def few_recordings(found: Evaluation) -> str | None:
    """The test part is too small to tell."""
    low, high = found.scores.total.interval
    if 100 * (high - low) <= LIMITS.interval_points:
        return None
    return (
        f"{found.scores.total.of} test recordings say little: anything from {100 * low:.0f} to {100 * high:.0f} % "
        "is likely; record more, or judge by dataset.split: {kind: leave-one-group-out}"
    )


def confused_classes(found: Evaluation) -> str | None:
    """Two classes are taken for each other."""
    pairs = [
        f"{pair.first}/{pair.second} ({pair.taken} of {pair.of})"
        for pair in found.scores.confused
        if pair.share >= LIMITS.confused_share and pair.taken >= LIMITS.confused_recordings
    ]
    if not pairs:
        return None
    return f"classes are confused: {', '.join(pairs[:3])}; record more of them, or make them one class"


def weak_groups(found: Evaluation) -> str | None:
    """A speaker or subject fares much worse than the others."""
    total = found.scores.total.accuracy
    weak = [
        f"{name} ({100 * share.accuracy:.1f} %)"
        for name, share in sorted(found.scores.groups.items(), key=lambda item: item[1].accuracy)
        if 100 * (total - share.accuracy) >= LIMITS.group_points and share.interval[1] < total
    ]
    if not weak:
        return None
    return f"far below the mean of {100 * total:.1f} %: group {', '.join(weak[:3])}; record more that are like them"


def noise(found: Evaluation) -> str | None:
    """Noise costs much."""
    costs = [
        f"{name} costs {lost:.0f} points"
        for name in (WHITE, BABBLE)
        if (lost := _lost(found, name, LIMITS.noise_db)) is not None and lost >= LIMITS.noise_points
    ]
    if not costs:
        return None
    if found.config.augment is not None and found.config.augment.noise is not None:
        remedy = "raise augment.copies, or shift augment.noise.snr_db towards it"
    else:
        remedy = "add `augment: {noise: {kinds: [none, white, babble]}}` to the config and train again"
    return f"{' and '.join(costs)} at {LIMITS.noise_db} dB: {remedy}"


def gain(found: Evaluation) -> str | None:
    """Quiet recordings fare worse."""
    lost = _lost(found, GAIN, LIMITS.gain_db)
    if lost is None or lost < LIMITS.gain_points:
        return None
    return (
        f"recordings {-LIMITS.gain_db} dB quieter cost {lost:.0f} points: amplify before the converter, "
        f"or {_augmented(found, 'gain_db', LIMITS.gain_db, 0)}"
    )


def shift(found: Evaluation) -> str | None:
    """Near-silence around a recording hurts."""
    for name, key in ((BEFORE, "lead_ms"), (AFTER, "trail_ms")):
        lost = _lost(found, name, LIMITS.shift_ms)
        if lost is not None and lost >= LIMITS.shift_points:
            remedy = _augmented(found, key, 0, LIMITS.shift_ms)
            return f"{LIMITS.shift_ms} ms of {name} the recording cost {lost:.0f} points: {remedy}"
    return None


def flipped_bits(found: Evaluation) -> str | None:
    """A single flipped bit can hurt."""
    lost = 100 * (found.unflipped - found.flips.worst)
    if not found.flips.accuracies or lost < LIMITS.flip_points:
        return None
    return (
        f"one flipped bit, in {found.flips.worst_table}, can cost {lost:.0f} points: "
        "let the firmware call lsm_selftest() now and then; it notices every one"
    )


def silent_neurons(found: Evaluation) -> str | None:
    """Neurons that never fire are tables for nothing."""
    share = found.liquid.firing.silent
    if share < LIMITS.silent_share:
        return None
    if found.model.manifest.reservoir.n_synapses:
        remedy = "inhibition keeps them quiet: lower reservoir.target_rate, topology.fan_in or reservoir.inhibition"
    else:
        remedy = f"their input is too weak: lower encoder.shift, or raise encoder.{_fan_in(found)}"
    return f"{100 * share:.0f} % of neurons never fire; {remedy}"


def saturated_neurons(found: Evaluation) -> str | None:
    """Neurons that always fire say nothing either."""
    share = found.liquid.firing.saturated
    if share < LIMITS.saturated_share:
        return None
    if found.model.manifest.reservoir.n_synapses:
        remedy = "lower reservoir.recurrent_gain or reservoir.target_rate"
    else:
        remedy = "raise encoder.shift, or lower reservoir.target_rate"
    return f"{100 * share:.0f} % of neurons fire whenever they can; {remedy}"


def idle_window(found: Evaluation) -> str | None:
    """A window that tells nothing which the others do not."""
    worth, manifest = found.liquid.worth, found.model.manifest
    if worth is None:
        return None
    costs = [100 * (worth.everything - without) for without in worth.without]
    least = min(range(len(costs)), key=costs.__getitem__)
    if costs[least] >= LIMITS.window_points:
        return None
    left = manifest.readout.n_windows - 1
    saved = found.model["readout_weight"].nbytes // manifest.readout.n_windows
    return (
        f"window {least + 1} carries nothing (without it {100 * worth.without[least]:.1f} % against "
        f"{100 * worth.everything:.1f} %): readout.n_windows: {left} saves {saved:,} bytes"
    )


def never_forgets(found: Evaluation) -> str | None:
    """The state depends on what was long ago."""
    fading = found.liquid.fading
    if fading is None or fading.forgotten_ms is not None:
        return None
    share = sum(fading.left_over[-16:]) / len(fading.left_over[-16:])
    if share < LIMITS.left_over:
        return None
    heard_ms = len(fading.left_over) * fading.frame_ms
    return (
        f"the liquid does not forget: after {heard_ms:.0f} ms of the same input {100 * share:.0f} % of a difference "
        "are left; lower reservoir.recurrent_gain"
    )


def runaway(found: Evaluation) -> str | None:
    """Spikes that cause more spikes than they are."""
    branching = found.liquid.branching
    if branching is None or branching.ratio < LIMITS.branching_ratio:
        return None
    return (
        f"each spike causes {branching.ratio:.1f} more: activity feeds itself; lower reservoir.recurrent_gain, "
        "or raise reservoir.inhibition"
    )


def noise_in_the_state(found: Evaluation) -> str | None:
    """Noise moves the state in nearly as many directions as another recording does."""
    ranks = found.liquid.ranks
    if ranks is None or ranks.generalisation < LIMITS.generalisation_share * ranks.kernel:
        return None
    recurrent = "lower reservoir.recurrent_gain, or " if found.model.manifest.reservoir.n_synapses else ""
    return (
        f"noise moves the state in {ranks.generalisation} directions, other recordings in {ranks.kernel}: "
        f"{recurrent}train with `augment:`"
    )


def short_memory(found: Evaluation) -> str | None:
    """Without windows, what the liquid forgets is lost."""
    memory, manifest = found.liquid.memory, found.model.manifest
    if memory is None or manifest.decision.mode != "live" or memory.reach_ms >= LIMITS.live_reach_ms:
        return None
    longer = "encoder.max_delay_frames" if manifest.encoder.kind == "current" else "reservoir.max_delay_steps"
    return f"decision.mode: live, and the liquid recalls only {memory.reach_ms:.0f} ms: raise {longer}"


Rule = Callable[[Evaluation], str | None]
RULES: Final[tuple[Rule, ...]] = (
    few_recordings, confused_classes, weak_groups, noise, gain, shift, flipped_bits, silent_neurons, saturated_neurons,
    idle_window, never_forgets, runaway, noise_in_the_state, short_memory,
)  # fmt: skip


def _lost(found: Evaluation, name: str, value: int) -> float | None:
    """Points of accuracy that a condition costs; None if it was not measured."""
    for curve in found.curves:
        accuracy = curve.at(value)
        if curve.name == name and accuracy is not None:
            return 100 * (found.clean - accuracy)
    return None


def _augmented(found: Evaluation, key: str, low: int, high: int) -> str:
    if found.config.augment is not None and getattr(found.config.augment, key) is not None:
        return f"widen augment.{key}, or raise augment.copies"
    return f"add `augment: {{{key}: [{low}, {high}]}}` to the config and train again"


def _fan_in(found: Evaluation) -> str:
    return "norm" if found.config.encoder.kind == "current" else "fan_in"
