"""Small faults, one at a time, that the differential tests must find: where, what instead of what, which check sees it.

`caught_by` is the tap of the first integer that differs, so it names the stage; or it is what `check.py` calls what is
not a tap. A fault whose old text is no longer there fails the test: this list cannot rot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Models that between them show every fault below; drawn with at most LARGEST neurons.
SEEDS: Final = (
    61, 5, 7, 8, 12, 139, 119, 102, 144, 23, 2, 3, 21, 1, 4, 16, 96, 13, 9, 312, *range(200, 230), 320, 2996, 469, 883,
    1018, 73, 327,
)  # fmt: skip
LARGEST: Final = 40


@dataclass(frozen=True)
class Mutation:
    """One fault. `on` says where it shows: code for the board only shows on a core."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str
    on: str = "host"


_FIXED: Final = "firmware/kernels/fixed.h"
_FRONTEND: Final = "firmware/kernels/frontend.h"
_ENCODER: Final = "firmware/kernels/encoder.h"
_RESERVOIR: Final = "firmware/kernels/reservoir.h"
_READOUT: Final = "firmware/kernels/readout.h"
_DECISION: Final = "firmware/kernels/decision.h"
_ENCODER_DSP: Final = "firmware/kernels/encoder_dsp.h"
_FRONTEND_DSP: Final = "firmware/kernels/frontend_dsp.h"
_RESERVOIR_DSP: Final = "firmware/kernels/reservoir_dsp.h"
_READOUT_DSP: Final = "firmware/kernels/readout_dsp.h"
_ENCODER_WIDE: Final = "firmware/kernels/encoder_wide.h"
_RESERVOIR_WIDE: Final = "firmware/kernels/reservoir_wide.h"
_LIBRARY: Final = "templates/lsm.c.j2"

MUTATIONS: Final = (
    # The integer vocabulary.
    Mutation("no saturation above", _FIXED, "return INT16_MAX;", "return (int16_t)x;", "frontend.frame"),
    Mutation("no saturation below", _FIXED, "return INT16_MIN;", "return (int16_t)x;", "frontend.frame"),
    Mutation(
        "multiply rounds to nearest",
        _FIXED,
        "return (x * factor_q15) >> 15;",
        "return (x * factor_q15 + 16384) >> 15;",
        "reservoir.v",
    ),
    Mutation(
        "multiply rounds towards zero",
        _FIXED,
        "return (x * factor_q15) >> 15;",
        "return (x * factor_q15) / 32768;",
        "reservoir.v",
    ),
    Mutation("decay sticks at -1", _FIXED, " + (int32_t)((uint32_t)x >> 31);", ";", "reservoir.v"),
    Mutation("logarithm's parabola", _FIXED, "(256U - mantissa) * 88U", "(256U - mantissa) * 80U", "frontend.frame"),
    Mutation(
        "square root one low",
        _FIXED,
        "(y - root * root) >> 31);\n    return",
        "(y - root * root - 1) >> 31);\n    return",
        "readout.features",
    ),
    # frontend
    Mutation("pre-emphasis shift", _FRONTEND, "(before >> 5)", "(before >> 4)", "frontend.frame"),
    Mutation(
        "pre-emphasis wraps",
        _FRONTEND,
        "return saturate_int16((int32_t)x - before + (before >> 5));",
        "return (int16_t)((int32_t)x - before + (before >> 5));",
        "frontend.frame",
    ),
    Mutation("no headroom below zero", _FRONTEND, "used |= pair ^ (pair << 1);", "used |= pair;", "frontend.frame"),
    Mutation("butterfly rounds", _FRONTEND, "(a_re + t_re) >> 1,", "(a_re + t_re + 1) >> 1,", "frontend.frame"),
    Mutation(
        "+j for -j",
        _FRONTEND,
        "high_half(points[first + 3U]), -low_half(points[first + 3U])",
        "-high_half(points[first + 3U]), low_half(points[first + 3U])",
        "frontend.frame",
    ),
    Mutation(
        "twiddle of a neighbour",
        _FRONTEND,
        "twiddle_q15 = &twiddle_q15[stride];",
        "twiddle_q15 = &twiddle_q15[stride - 1U];",
        "frontend.frame",
    ),
    Mutation(
        "power of one part not halved", _FRONTEND, "(diff_im + t_im) >> 1)", "(diff_im + t_im))", "frontend.frame"
    ),
    Mutation(
        "band without its last bin",
        _FRONTEND,
        "(size_t)end[band] - start[band];",
        "(size_t)end[band] - start[band] - 1U;",
        "frontend.frame",
    ),
    Mutation("headroom counted once", _FRONTEND, "(512U * headroom)", "(256U * headroom)", "frontend.frame"),
    Mutation("level's offset", _FRONTEND, "LEVEL_OFFSET_Q8 (-320)", "LEVEL_OFFSET_Q8 (-321)", "frontend.frame"),
    Mutation(
        "level ends at 254", _FRONTEND, "level < 255 ? level : 255", "level < 254 ? level : 254", "frontend.frame"
    ),
    Mutation("level below zero", _FRONTEND, "(uint8_t)(under < 0 ? 0 : under);", "(uint8_t)under;", "frontend.level"),
    Mutation(
        "excess above nothing",
        _FRONTEND,
        "(int16_t)(peak + ((equalise_q8 * ((int32_t)sums[band] - mean_q4)) >> 12))",
        "(int16_t)(peak + ((equalise_q8 * (int32_t)sums[band]) >> 12))",
        "frontend.level",
    ),
    Mutation(
        "frames weigh the same",
        _FRONTEND,
        "sums[band] += weight * frame[band];",
        "sums[band] += frame[band];",
        "frontend.level",
    ),
    Mutation(
        "running peak never falls",
        _FRONTEND,
        "loudest_q8 > fallen_q8 ? loudest_q8 : fallen_q8",
        "loudest_q8 > peak_q8 ? loudest_q8 : peak_q8",
        "frontend.frame",
    ),
    Mutation("previous sample stays", _FRONTEND, "        before = x;\n", "", "frontend.frame"),
    Mutation(
        "window one sample late",
        _LIBRARY,
        "memmove(lsm->samples, &lsm->samples[LSM_HOP_SAMPLES],",
        "memmove(lsm->samples, &lsm->samples[LSM_HOP_SAMPLES - 1],",
        "frontend.frame",
    ),
    # encoder
    Mutation("current wraps", _ENCODER, "narrowed(a >> shift, fits)", "(int16_t)(a >> shift)", "encoder.current"),
    Mutation("delta above, not from", _ENCODER, "if (moved >= delta)", "if (moved > delta)", "encoder.current"),
    Mutation(
        "down spikes on the up line",
        _ENCODER,
        "input_start[2U * band + 1U], input_start[2U * band + 2U]",
        "input_start[2U * band], input_start[2U * band + 1U]",
        "encoder.current",
    ),
    Mutation("delta catches up at once", _ENCODER, "(reference[band] - delta)", "(frame[band])", "encoder.current"),
    Mutation(
        "taps a frame late",
        _LIBRARY,
        "&lsm->frames[(first - N_REACH) * LSM_N_BANDS], 0U, tap_offset",
        "&lsm->frames[(first > N_REACH ? first - N_REACH - 1U : 0U) * LSM_N_BANDS], 0U, tap_offset",
        "encoder.current",
    ),
    Mutation(
        "early taps skip a byte",
        _ENCODER,
        "size_t n_few = n_taps < 4U ? n_taps : 4U;",
        "size_t n_few = n_taps < 4U ? n_taps : 4U; n_missing += n_missing != 0U;",
        "encoder.current",
    ),
    Mutation(
        "early taps a frame late",
        _LIBRARY,
        "(N_REACH - first) * LSM_N_BANDS",
        "(N_REACH - first - 1U) * LSM_N_BANDS",
        "encoder.current",
    ),
    Mutation(
        "every other row of currents", _LIBRARY, "(size_t)lsm->row *", "(size_t)(lsm->row & 2U) *", "encoder.current"
    ),
    # reservoir
    Mutation(
        "spikes are delivered twice",
        _RESERVOIR,
        "            due[word] = 0;\n            deliver_word(",
        "            deliver_word(",
        "reservoir.v",
    ),
    Mutation(
        "blocks are delivered twice",
        _RESERVOIR,
        "            due[word] = 0;\n            deliver_word_of_blocks(",
        "            deliver_word_of_blocks(",
        "reservoir.v",
    ),
    Mutation("a row's last block is left out", _RESERVOIR, "while (at < end)", "while (&at[1] < end)", "reservoir.v"),
    Mutation(
        "a block's first two weights for its last two",
        _RESERVOIR,
        "((weights >> 8) & even)",
        "(weights & even)",
        "reservoir.v",
    ),
    Mutation(
        "two neurons: recurrent current not shifted",
        _RESERVOIR,
        "sum += load_aligned(&at->recurrent[n]) << settings->weight_shift;",
        "sum += load_aligned(&at->recurrent[n]);",
        "reservoir.v",
    ),
    Mutation(
        "two neurons: decay sticks at -1", _RESERVOIR, "less + ((v >> 15) & ones) -", "less + ones -", "reservoir.v"
    ),
    Mutation(
        "two neurons: none is far from zero",
        _RESERVOIR,
        "LSM_RARELY(((v ^ (v << 1)) & LSM_ABOVE) != 0U)",
        "0",
        "reservoir.v",
    ),
    Mutation(
        "two neurons: fires above, not at",
        _RESERVOIR,
        "((v | LSM_ABOVE) - load_aligned",
        "((v | LSM_ABOVE) - LSM_ONES - load_aligned",
        "reservoir.v",
    ),
    Mutation(
        "two neurons: fires while resting",
        _RESERVOIR,
        "            over &= ~((resting << 15) | (resting << 23));\n",
        "",
        "reservoir.v",
    ),
    Mutation("recurrent current not shifted", _RESERVOIR, "((int32_t)1 << weight_shift)", "1", "reservoir.v"),
    Mutation(
        "decay after input",
        _RESERVOIR,
        "saturate_int16(decay_q15(*v, leak_q15) + drive)",
        "saturate_int16(decay_q15(saturate_int16(*v + drive), leak_q15))",
        "reservoir.v",
    ),
    Mutation("fires above, not at", _RESERVOIR, "after >= threshold", "after > threshold", "reservoir.v"),
    Mutation(
        "fires while resting",
        _RESERVOIR,
        "        fired &= resting ^ 1U;\n",
        "",
        "reservoir.v",
    ),
    Mutation(
        "rest one step short",
        _RESERVOIR,
        "((0U - fired) & refractory_steps)",
        "((0U - fired) & (refractory_steps - 1U))",
        "reservoir.refractory",
    ),
    Mutation(
        "always resets to zero", _RESERVOIR, "(int32_t)fired * threshold", "(int32_t)fired * after", "reservoir.v"
    ),
    Mutation(
        "halves of spike words swapped",
        _RESERVOIR,
        "spikes[first / 32U] = word;",
        "spikes[first / 32U] = (word << 16) | (word >> 16);",
        "reservoir.spikes",
    ),
    Mutation(
        "a word of one neuron left out",
        _RESERVOIR,
        "for (first = 0; first < n_neurons; first += 32U)",
        "for (first = 0; first == 0U || first + 1U < n_neurons; first += 32U)",
        "reservoir.v",
    ),
    Mutation(
        "spikes due a step early",
        _RESERVOIR,
        "slot + delay_steps[32U * word + bit]",
        "slot + delay_steps[32U * word + bit] - 1U",
        "reservoir.v",
    ),
    Mutation("slots wrap to the first", _RESERVOIR, "arrival -= n_slots", "arrival = 0", "reservoir.v"),
    Mutation(
        "slot never comes round",
        _LIBRARY,
        "lsm->slot + 1U < N_SLOTS ? lsm->slot + 1U : 0U",
        "lsm->slot + 1U < N_SLOTS ? lsm->slot + 1U : lsm->slot",
        "reservoir.v",
    ),
    Mutation(
        "rest is not rested", _LIBRARY, "    memset(lsm->refractory, 0, sizeof lsm->refractory);\n", "", "session"
    ),
    Mutation("potentials are not reset", _LIBRARY, "    memset(lsm->v, 0, sizeof lsm->v);\n", "", "session"),
    Mutation(
        "spikes under way outlive a segment",
        _LIBRARY,
        "    memset(lsm->pending, 0, sizeof lsm->pending);\n",
        "",
        "session",
    ),
    Mutation(
        "references outlive a segment",
        _LIBRARY,
        "    memset(lsm->reference, 0, sizeof lsm->reference);\n",
        "",
        "session",
    ),
    Mutation("traces outlive a segment", _LIBRARY, "    memset(lsm->trace, 0, sizeof lsm->trace);\n", "", "session"),
    Mutation("history outlives a rest", _LIBRARY, "    memset(lsm->frames, 0, sizeof lsm->frames);\n", "", "session"),
    # readout
    Mutation(
        "activity without its floor", _FRONTEND, "(sum > floor_sum ? sum - floor_sum : 0U)", "sum", "readout.features"
    ),
    Mutation(
        "trace leaks after input",
        _READOUT,
        "((((uint32_t)trace * leak_q15) >> 15) + (uint32_t)count * gain)",
        "((((uint32_t)trace + (uint32_t)count * gain) * leak_q15) >> 15)",
        "readout.features",
    ),
    Mutation("rate is not clamped", _READOUT, "rate > 65535U ? 65535U : rate", "rate", "readout.features"),
    Mutation(
        "packed weights from their lowest",
        _READOUT,
        "((int32_t)(*weight >> 4) - 8)",
        "((int32_t)(*weight >> 4) - 7)",
        "readout.scores",
    ),
    Mutation(
        "an odd neuron is left out",
        _READOUT,
        "        if (n < n_neurons) {",
        "        if (n + 1U < n_neurons) {",
        "readout.scores",
    ),
    Mutation(
        "features are signed",
        _READOUT,
        "*weight++ * (int32_t)features[n]",
        "*weight++ * (int32_t)(int8_t)features[n]",
        "readout.scores",
    ),
    Mutation(
        "counts go on in the next window",
        _LIBRARY,
        "        lsm->counts[n] = 0;\n{% else %}\n        uint32_t state",
        "{% else %}\n        uint32_t state",
        "readout.features",
    ),
    Mutation(
        "a window too long",
        _LIBRARY,
        "LSM_N_WINDOWS * before >= (lsm",
        "LSM_N_WINDOWS * before > (lsm",
        "readout.features",
    ),
    Mutation(
        "window's frames go on",
        _LIBRARY,
        "    lsm->window_frames = 0;\n    lsm->window++;",
        "    lsm->window++;",
        "readout.features",
    ),
    Mutation(
        "length counts to 256",
        _LIBRARY,
        "lsm->n_frames < 255U ? (int32_t)lsm->n_frames : 255",
        "lsm->n_frames < 256U ? (int32_t)lsm->n_frames : 256",
        "readout.scores",
    ),
    Mutation(
        "scores go on",
        _LIBRARY,
        "    memcpy(lsm->scores, bias, sizeof lsm->scores);\n    lsm->window = 0;",
        "    lsm->window = 0;",
        "readout.scores",
    ),
    # decision
    Mutation(
        "a lead as wide as the margin is rejected",
        _LIBRARY,
        "lsm->decision) < reject",
        "lsm->decision) <= reject",
        "decision.class",
    ),
    Mutation("a lead over itself", _DECISION, "c != (size_t)best && over < lead", "over < lead", "decision.class"),
    Mutation(
        "a tie goes to the last", _DECISION, "scores[c] > scores[best]", "scores[c] >= scores[best]", "decision.class"
    ),
    Mutation("noise floor never rises", _DECISION, "= floor_q8 + rise_q8;", "= floor_q8;", "session"),
    Mutation(
        "an offset is loud",
        _FRONTEND,
        "* n_samples - (uint64_t)((int64_t)sum * sum)",
        "* n_samples",
        "decision.stream",
    ),
    Mutation("gate closes too early", _LIBRARY, "(lsm->awake_frames > 0U)", "(lsm->awake_frames > 1U)", "session"),
    Mutation(
        "floor stands still behind the gate",
        _LIBRARY,
        "        lsm->floor_q8 = move_floor(lsm->floor_q8, before_q8, lsm->gate_floor_q8);\n",
        "",
        "decision.stream",
    ),
    Mutation(
        "segment reaches back behind the gate",
        _LIBRARY,
        "        lsm->n_frames = 0;\n        lsm->run = 0;\n        lsm->is_awake",
        "        lsm->run = 0;\n        lsm->is_awake",
        "session",
    ),
    Mutation(
        "loud above the onset", _LIBRARY, "is_loud = loudness >= (lsm", "is_loud = loudness > (lsm", "decision.stream"
    ),
    Mutation("hangs on a frame too long", _LIBRARY, "if (lsm->run < {{ d", "if (lsm->run <= {{ d", "decision.stream"),
    Mutation("segment keeps its silence", _LIBRARY, "(lsm->n_frames - lsm->run)", "(lsm->n_frames)", "session"),
    Mutation(
        "floor stays when a segment is cut",
        _LIBRARY,
        "        lsm->floor_q8 = (uint16_t)(loudness << 8);",
        "       ",
        "decision.stream",
    ),
    Mutation(
        "preroll moves by a byte",
        _LIBRARY,
        "memmove(oldest, &oldest[LSM_N_BANDS]",
        "memmove(oldest, &oldest[1]",
        "decision.stream",
    ),
    Mutation(
        "decides a frame late",
        _LIBRARY,
        "if (lsm->n_frames < {{ d.every_frames }}U)",
        "if (lsm->n_frames <= {{ d.every_frames }}U)",
        "failure",
    ),
    Mutation(
        "end does not restart the count",
        _LIBRARY,
        "    lsm->n_frames = 0;\n    lsm_readout(lsm);\n    lsm_decision(lsm);\n{% endif %}\n    return",
        "    lsm_readout(lsm);\n    lsm_decision(lsm);\n{% endif %}\n    return",
        "session",
    ),
    Mutation(
        "begin keeps what the end-pointer had",
        _LIBRARY,
        "    lsm->n_frames = 0;\n{% if segment %}\n    lsm->is_open = 1;",
        "{% if segment %}\n    lsm->is_open = 1;",
        "session",
    ),
    # tables
    Mutation(
        "twiddles' halves swapped",
        "lsm_edge/target/codegen.py",
        "halves[:, 0] | halves[:, 1] << 16",
        "halves[:, 1] | halves[:, 0] << 16",
        "frontend.frame",
    ),
    Mutation(
        "tables column by column", "lsm_edge/target/codegen.py", "table.ravel()", "table.ravel('F')", "encoder.current"
    ),
    Mutation(
        "spikes counted in bytes",
        "lsm_edge/target/context.py",
        'add("uint16_t", "counts"',
        'add("uint8_t", "counts"',
        "failure",
    ),
    # what only the board runs
    Mutation(
        "copy leaves out the last byte",
        "firmware/port/mem.c",
        "    for (; count > 0U; count--) {\n        *to++ = *from++;",
        "    for (; count > 1U; count--) {\n        *to++ = *from++;",
        "frontend.level",
        "core",
    ),
    Mutation(
        "memset leaves out the last byte",
        "firmware/port/mem.c",
        "    for (; count > 0U; count--) {\n        *to++ = (uint8_t)value;",
        "    for (; count > 1U; count--) {\n        *to++ = (uint8_t)value;",
        "session",
        "core",
    ),
    # the golden model
    Mutation(
        "golden decay sticks at -1",
        "lsm_edge/fixed.py",
        "return multiply_q15(x, factor_q15) + (x < 0)",
        "return multiply_q15(x, factor_q15)",
        "reservoir.v",
    ),
    Mutation(
        "golden window a hop early",
        "lsm_edge/stages/frontend.py",
        "starts = (1 + np.arange(n_frames)) * hop",
        "starts = np.arange(n_frames) * hop",
        "frontend.frame",
    ),
    Mutation(
        "golden peak of the first frame",
        "lsm_edge/stages/frontend.py",
        "model.manifest.frontend, frames.max(initial=0)",
        "model.manifest.frontend, frames[:1].max(initial=0)",
        "frontend.level",
    ),
    Mutation(
        "golden delta below, not down to",
        "lsm_edge/stages/encoder.py",
        "down = reference - frame >= delta",
        "down = reference - frame > delta",
        "encoder.current",
    ),
    Mutation(
        "golden history is its first frame",
        "lsm_edge/stages/encoder.py",
        "t * bands + offsets",
        "t // 2 * bands + offsets",
        "encoder.current",
    ),
    Mutation(
        "golden fires above, not at",
        "lsm_edge/stages/reservoir.py",
        "fired = ~resting & (v >= threshold)",
        "fired = ~resting & (v > threshold)",
        "reservoir.v",
    ),
    Mutation(
        "golden delivers twice",
        "lsm_edge/stages/reservoir.py",
        "        liquid.pending[:, liquid.slot] = False\n",
        "",
        "reservoir.v",
    ),
    Mutation(
        "golden rests for ever",
        "lsm_edge/stages/reservoir.py",
        "liquid.refractory - resting)",
        "liquid.refractory)",
        "reservoir.refractory",
    ),
    Mutation(
        "golden windows by what came after",
        "lsm_edge/stages/readout.py",
        "before = np.cumsum(weight) - weight",
        "before = np.cumsum(weight) - 1",
        "readout.features",
    ),
    Mutation(
        "golden rate of a step more",
        "lsm_edge/stages/readout.py",
        "np.maximum(n_steps, 1)",
        "np.maximum(n_steps + 1, 1)",
        "readout.features",
    ),
    Mutation(
        "golden spikes from the top bit",
        "lsm_edge/golden.py",
        'bitorder="little"',
        'bitorder="big"',
        "reservoir.spikes",
    ),
    Mutation(
        "golden closes a frame late",
        "lsm_edge/stages/decision.py",
        "run == pointer.hang_frames or",
        "run > pointer.hang_frames or",
        "decision.stream",
    ),
    Mutation(
        "golden gate never opens again",
        "lsm_edge/stages/decision.py",
        "opens = hop >= (gate_floor_q8 >> 8)",
        "opens = hop > (gate_floor_q8 >> 8) + 399",
        "decision.stream",
    ),
    Mutation(
        "confidence of half an octave less",
        _FIXED,
        "5633792U - 5623U * part",
        "5633792U - 5622U * part",
        "decision.confidence",
    ),
    Mutation(
        "a lead beyond 16 bits is not held",
        _DECISION,
        "(lead < 65535U ? lead : 65535U)",
        "(lead & 65535U)",
        "decision.confidence",
    ),
    # Twins for cores with DSP instructions.
    Mutation(
        "twin: power's other floor",
        _FRONTEND_DSP,
        "(uint32_t)smlsd(w, odd, 32767)",
        "(uint32_t)smlsd(w, odd, 0)",
        "frontend.frame",
        "twins",
    ),
    Mutation(
        "twin: peak above 255 forgotten",
        _FRONTEND_DSP,
        "levels = uqsub8(levels, down) + up;",
        "levels = levels + up;",
        "frontend.level",
        "twins",
    ),
    Mutation(
        "twin: what taps reach is not kept twice",
        _ENCODER_DSP,
        "        by_band[band * (n_kept / 2U) + n_kept / 4U] = four;\n",
        "",
        "encoder.current",
        "twins",
    ),
    Mutation(
        "twin: a sum borrows from its neighbour",
        _ENCODER_DSP,
        "in_register(0x80008000U)",
        "in_register(0x80000000U)",
        "encoder.current",
        "twins",
    ),
    Mutation(
        "twin: an odd neuron is left out",
        _ENCODER_DSP,
        "    if (n < n_neurons) {",
        "    if (n + 1U < n_neurons) {",
        "encoder.current",
        "twins",
    ),
    Mutation(
        "twin: what taps reach outlives a segment",
        _LIBRARY,
        "    memset(lsm->by_band, 0, sizeof lsm->by_band);\n",
        "",
        "session",
        "twins",
    ),
    Mutation(
        "twin: taps a frame late",
        "lsm_edge/target/codegen.py",
        "kept - encoder.max_delay_frames + frame",
        "kept - encoder.max_delay_frames + frame - 1",
        "encoder.current",
        "twins",
    ),
    Mutation(
        "twin: leak by shift never ends below zero",
        _RESERVOIR_DSP,
        "uint32_t left = (v >> (15U - shift)) & signs;",
        "uint32_t left = 0;",
        "reservoir.v",
        "twins",
    ),
    Mutation(
        "twin: leak never ends below zero",
        _RESERVOIR_DSP,
        "return sadd16(pkhtb_q15(high << 1, low), (v >> 15) & ones);",
        "return pkhtb_q15(high << 1, low);",
        "reservoir.v",
        "twins",
    ),
    Mutation(
        "twin: fires while it rests",
        _RESERVOIR_DSP,
        "uint32_t over = after & ~resting;",
        "uint32_t over = after;",
        "reservoir.v",
        "twins",
    ),
    Mutation(
        "twin: block delivered twice",
        _RESERVOIR_DSP,
        "deliver_four_dsp(&base[places >> 16], other, is_aligned);",
        "deliver_four_dsp(&base[places & 0xFFFFU], other, is_aligned);",
        "reservoir.v",
        "twins",
    ),
    Mutation(
        "twin: second class by the first one's weights",
        _READOUT_DSP,
        "load_word(&other[n])",
        "load_word(&weight[n])",
        "readout.scores",
        "twins",
    ),
    # Twins for the machine that trains.
    Mutation(
        "wide: leak by shift never ends above zero",
        _RESERVOIR_WIDE,
        "subtract_lanes(has_rest, is_negative)",
        "subtract_lanes((lanes_t){ 0 }, is_negative)",
        "reservoir.v",
        "wide",
    ),
    Mutation(
        "wide: leak never ends below zero",
        _RESERVOIR_WIDE,
        "subtract_lanes(__builtin_convertvector(product >> 15, lanes_t), v >> 15)",
        "__builtin_convertvector(product >> 15, lanes_t)",
        "reservoir.v",
        "wide",
    ),
    Mutation(
        "wide: fires while it rests",
        _RESERVOIR_WIDE,
        "fired = unless_counting(fired, rest);",
        "(void)0;",
        "reservoir.v",
        "wide",
    ),
    Mutation(
        "wide: many spikes in a word are not listed",
        _RESERVOIR_WIDE,
        "for (; i < count; i++) {",
        "for (; i + 1U < count; i++) {",
        "reservoir.v",
        "wide",
    ),
    Mutation(
        "wide: down lines for up lines",
        _ENCODER_WIDE,
        "lines[1] |= is_down << i;",
        "lines[0] |= is_down << i;",
        "encoder.current",
        "wide",
    ),
    Mutation(
        "wide: a neuron beside the last vector is not scaled",
        _ENCODER_WIDE,
        "current[i] = saturate_int16((int32_t)current[i] * ((int32_t)1 << shift));",
        "current[i] = saturate_int16((int32_t)current[i]);",
        "encoder.current",
        "wide",
    ),
)
