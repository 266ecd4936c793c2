"""Model + Board -> {file name: text}: rendered in memory, written all or nothing.

Only what depends on the model is templated; the arithmetic lives in `firmware/kernels/`, which is copied as it is.
The same model and sources give the same bytes: no clock, no path.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import jinja2
import numpy as np

from lsm_edge import __version__
from lsm_edge.assets import asset
from lsm_edge.board import Board
from lsm_edge.errors import ConfigError, RangeError
from lsm_edge.files import write_atomically
from lsm_edge.fixed import INT16_MAX, INT16_MIN
from lsm_edge.model import Model, Table, table_specs
from lsm_edge.ranges import Range, ranges_of
from lsm_edge.selftest import known_answer
from lsm_edge.stages.encoder import dense_rows
from lsm_edge.target.context import (
    Field,
    context_bytes,
    context_fields,
    current_rows,
    history_frames,
    kept_frames,
    max_frames,
)
from lsm_edge.target.templates import environment

KERNELS: Final = (
    "fixed.h", "frontend.h", "encoder.h", "reservoir.h", "readout.h", "decision.h", "selftest.h", "bounds.h",
)  # fmt: skip
DSP_KERNELS: Final = ("dsp.h", "frontend_dsp.h", "encoder_dsp.h", "reservoir_dsp.h", "readout_dsp.h")
WIDE_KERNELS: Final = ("lanes.h", "encoder_wide.h", "reservoir_wide.h")
# Which kernels are twins: none, those for cores with DSP instructions, those for machines with vectors.
Form = Literal["portable", "dsp", "wide"]
FORMS: Final[Mapping[Form, tuple[str, ...]]] = {"portable": (), "dsp": DSP_KERNELS, "wide": WIDE_KERNELS}
# C is written the same, whatever these hold: see `choices_of`.
NEVER_CHOSEN_BY: Final = frozenset(
    {"threshold", "readout_weight", "length_weight", "bias", "reject_margin", "confidence_gain_q16", "confidence_shift"}
)
_MOST_ROW_BYTES: Final = 1 << 20  # beyond, rows no longer stay near a processor
_LIBRARY: Final = ("lsm.h.j2", "lsm.c.j2", "lsm_tables.h.j2")
_C_TYPES: Final = {
    f"<{sign}{n_bytes}": f"{'u' if sign == 'u' else ''}int{8 * n_bytes}_t" for sign in "iu" for n_bytes in (1, 2, 4)
}
_PREFIX: Final = re.compile(r"[a-z][a-z0-9_]{0,15}")


@dataclass(frozen=True)
class _CTable:
    """A table as C: a name, a type, and integers that are already what is printed."""

    name: str
    type: str
    values: Sequence[int]
    comment: str
    hex: bool
    n_checked: int  # integers that the self-test's checksum covers; 0 for a table of nothing, which C cannot have

    @property
    def bits(self) -> int:
        """Width of one integer."""
        return int(self.type.removeprefix("u").removeprefix("int").removesuffix("_t"))


def generate_library(
    model: Model, *, command: str = "lsm-edge generate", prefix: str = "lsm", form: Form = "portable"
) -> dict[str, str]:
    """The generated library: `lsm.h`, `lsm.c`, `lsm_tables.h`, the kernels.

    In the form `dsp` some kernels are twins for cores with the DSP extension, in the form `wide` others for this
    machine, where `lsm_edge.target.native` takes them: the same integers, on any machine. `prefix` renames everything
    that is exported, and the files, so that two models fit in one firmware.

    Raises:
        RangeError: an accumulator could overflow.
        ConfigError: `prefix` is not a C identifier in lower case, or the library has names of its own that begin so.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f"--prefix {prefix!r}: must be a lower-case C identifier of at most 16 characters")
    folder, names = asset("firmware") / "kernels", (*KERNELS, *FORMS[form])
    kernels = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    templates = _environment()
    values = _library_values(model, command, sources_digest(kernels), form)
    rendered = {name.removesuffix(".j2"): templates.get_template(name).render(values) for name in _LIBRARY}
    files = {**rendered, **kernels}
    sources = [(asset("templates") / name).read_text(encoding="utf-8") for name in _LIBRARY]
    written = [*kernels, *kernels.values(), *sources]
    taken = re.compile(rf"\b(?:{prefix}|{prefix.upper()})(?:_\w+|\.[hc]\b)")
    clash = next(filter(None, map(taken.search, written)), None) if prefix != "lsm" else None
    if clash:
        raise ConfigError(f"--prefix {prefix}: the library uses {clash.group()} for itself; take another prefix")
    return {_renamed(name, prefix): _renamed(text, prefix) for name, text in files.items()}


def render_host(model: Model, prefix: str = "lsm", *, rows: bool = False) -> str:
    """`host.c`: the library with a window into it, for this machine only (see `lsm_edge.target.native`).

    `rows`: its synapses come as rows, which are laid out first.
    """
    manifest = model.manifest
    values = {"e": manifest.encoder, "segment": manifest.decision.mode == "segment", "rows": rows}
    return _renamed(_environment().get_template("host.c.j2").render(values), prefix)


def _library_values(model: Model, command: str, sources: str, form: Form) -> dict[str, Any]:
    dsp = form == "dsp"
    manifest, ranges, kept = model.manifest, ranges_of(model), kept_frames(model, dsp=dsp)
    tables = _c_tables(model, ranges, form)
    return {
        "banner": {
            "version": f"lsm-edge {__version__}",
            "command": _comment_text(command),
            "model": model.digest[:12],
            "sources": sources[:12],
        },
        "version": __version__,
        "f": manifest.frontend,
        "e": manifest.encoder,
        "r": manifest.reservoir,
        "o": manifest.readout,
        "d": manifest.decision,
        "segment": manifest.decision.mode == "segment",
        "form": form,
        "twin": "_dsp" if dsp else "",
        "chosen": choices_of(model, ranges, form),
        "rows": current_rows(manifest),
        "history_frames": history_frames(manifest),
        "max_frames": max_frames(manifest),
        "n_classes": manifest.n_classes,
        "labels": manifest.labels,
        "digest": model.digest,
        "guard": f"0x{model.digest[:8].upper()}U",
        "kept": kept,
        "context": context_fields(model, dsp=dsp),
        "context_bytes": context_bytes(model, dsp=dsp),
        "tables": tables,
        "ranges": ranges,
        "bounds": {name: f"{item.kept[0]}, {item.kept[1]}" for name, item in ranges.items()},
        "arrived": _arrived(ranges, dsp),
        "answer": replace(known_answer(model), table_crc=_crc(tables)),
    }


def choices_of(model: Model, ranges: Mapping[str, Range], form: Form) -> dict[str, Any]:
    """Which kernels are called, and with which constants, because of what the tables hold: as they are written in C."""
    dsp, wide = form == "dsp", form == "wide"
    leaks, drive = np.unique(model["leak_q15"]).tolist(), ranges["reservoir.drive"]
    most = 5 if dsp else 13  # beyond 5, that twin's product is as good; beyond 13, the portable form is not exact
    shift = next((shift for shift in range(1, most + 1) if leaks == [32768 - (32768 >> shift)]), 0)
    lowest, highest = (-(1 << 14), (1 << 14) - 1) if form == "portable" else (INT16_MIN, INT16_MAX)
    is_wide = drive.low < lowest or drive.high > highest
    is_aligned = model.manifest.reservoir.n_neurons % 2 == 0
    in_blocks = _takes_blocks(model, form)
    sums = ranges.get("encoder.tap_sum")
    fits = sums is not None and sums.low >= INT16_MIN and sums.high <= INT16_MAX
    n_blocks, aligned = f", {_blocks_a_row(model)}U" if in_blocks else "", f", {is_aligned:d}"
    twin = {"portable": "", "dsp": "_dsp", "wide": "_wide"}[form]
    return {
        "deliver": f"deliver_{'blocks' if in_blocks else 'spikes'}{'_dsp' * dsp}",
        "arrive": n_blocks + aligned * (dsp or not in_blocks),
        "fire_twin": twin,
        "fire": f", {shift}U, {is_wide:d}" + aligned * (not wide),
        "encode": f", {fits:d}",
        "aligned": is_aligned,
        "points": dsp and _points_fit_halves(ranges),
        "rows": wide and _has_rows(model),
    }


def _arrived(ranges: Mapping[str, Range], dsp: bool) -> str:
    """Bounds of recurrent currents as they are kept."""
    low, high = ranges["reservoir.recurrent"].kept if "reservoir.recurrent" in ranges else (0, 0)
    above = 0 if dsp else 1 << 15
    return f"{low + above}, {high + above}"


def _takes_blocks(model: Model, form: Form) -> bool:
    """Whether synapses are delivered in blocks; without DSP instructions, to whole words."""
    return form != "wide" and is_in_blocks(model) and (form == "dsp" or model.manifest.reservoir.n_neurons % 2 == 0)


def _has_rows(model: Model) -> bool:
    """Whether there are synapses that may come as rows: a byte for every neuron that a source or a line could reach."""
    n = model.manifest.reservoir.n_neurons
    kinds = [kind for kind in ("recurrent", "input") if f"{kind}_start" in model.tables]
    few = all((len(model[f"{kind}_start"]) - 1) * n <= _MOST_ROW_BYTES for kind in kinds)
    return bool(kinds) and few and all(_adds_fit_int8(model, kind) for kind in kinds)


def _adds_fit_int8(model: Model, kind: str) -> bool:
    """Whether what a source adds to a neuron does, through all synapses between them."""
    start, target, weight = (model[f"{kind}_{table}"].astype(np.int64) for table in ("start", "target", "weight"))
    sums = dense_rows(start, target, weight, model.manifest.reservoir.n_neurons)
    return bool(np.abs(sums).max(initial=0) <= np.iinfo(np.int8).max)


def is_in_blocks(model: Model) -> bool:
    """Whether all recurrent synapses come in aligned blocks of four targets, whole rows of them."""
    if not model.manifest.reservoir.n_synapses or (model["recurrent_start"] % 4).any():
        return False
    targets = model["recurrent_target"].reshape(-1, 4)
    return not (targets[:, 0] % 4).any() and bool((np.diff(targets.astype(np.int64), axis=1) == 1).all())


def _blocks_a_row(model: Model) -> int:
    """How many blocks every source reaches; 0 if they differ."""
    rows = np.unique(np.diff(model["recurrent_start"].astype(np.int64)))
    return int(rows[0]) // 4 if len(rows) == 1 else 0


def _crc(tables: Sequence[_CTable]) -> int:
    """CRC-32 over all tables as they lie in memory."""
    crc = 0
    for table in tables:
        kind = f"<{'u' if table.type.startswith('u') else 'i'}{table.bits // 8}"
        crc = zlib.crc32(np.array(table.values[: table.n_checked], kind).tobytes(), crc)
    return crc


def _points_fit_halves(ranges: Mapping[str, Range]) -> bool:
    """Whether a point times a twiddle fits the 16 bits of each part, which twins take at once; the shift is floor."""
    products = (ranges["frontend.twiddled"], ranges["frontend.unmixed"])
    return all(product.low >= -INT16_MAX << 15 and product.high < INT16_MAX << 15 for product in products)


def sources_digest(kernels: Mapping[str, str]) -> str:
    """SHA-256 over the templates and kernels that a library is made from."""
    sha = hashlib.sha256()
    for name in _LIBRARY:
        sha.update((asset("templates") / name).read_bytes())
    for name in sorted(kernels):
        sha.update(kernels[name].encode())
    return sha.hexdigest()


def generate_project(
    model: Model, board: Board, *, command: str = "lsm-edge generate", prefix: str = "lsm"
) -> dict[str, str]:
    """A PlatformIO project around the library, as {path: text}.

    Raises:
        RangeError: the model does not fit the board; the message lists what takes the room.
    """
    check_fit(model, board)
    library = generate_library(model, command=command, prefix=prefix, form="dsp" if board.dsp else "portable")
    templates = _environment()
    values = {
        "board": board,
        "name": model.manifest.name,
        "version": __version__,
        "prefix": prefix,
        "model_digest": model.digest,
        "labels": model.manifest.labels,
        "n_neurons": model.manifest.reservoir.n_neurons,
    }
    files = {f"lib/{prefix}/{name}": text for name, text in library.items()}
    files[f"lib/{prefix}/library.json"] = templates.get_template("library.json.j2").render(values)
    files["platformio.ini"] = templates.get_template("platformio.ini.j2").render(values)
    files["linker.ld"] = templates.get_template("linker.ld.j2").render(values)
    files["src/board.h"] = templates.get_template("board.h.j2").render(values)
    files["README.md"] = templates.get_template("project_readme.md.j2").render(values)
    firmware = asset("firmware")
    for source, name in board.sources.items():
        files[name] = _renamed((firmware / source).read_text(encoding="utf-8"), prefix)
    return files


def check_fit(model: Model, board: Board) -> None:
    """Refuse a model that a board has no room for, naming the size of each table.

    Raises:
        RangeError: see above.
    """
    ram_bytes = context_bytes(model, dsp=board.dsp)
    if model.table_bytes <= board.flash.bytes and ram_bytes <= board.ram.bytes:
        return
    sizes = sorted(((table.nbytes, name) for name, table in model.tables.items()), reverse=True)
    lines = "\n".join(f"  {name:18} {n_bytes:9,} bytes" for n_bytes, name in sizes)
    raise RangeError(
        f"model {model.manifest.name} does not fit {board.id}: tables take {model.table_bytes:,} of "
        f"{board.flash.bytes:,} bytes of flash, the context {ram_bytes:,} of {board.ram.bytes:,} bytes of RAM. "
        f"Tables:\n{lines}\n"
        "Lower reservoir.n_neurons, readout.n_windows or decision.max_segment_ms, or take a larger board"
    )


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files or none: they are laid out in a temporary folder first; identical ones are left untouched.

    Raises:
        ConfigError: the folder, or a file in it, cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; the project needs a folder of this name")
    for name in files:
        if (folder / name).is_dir():
            raise ConfigError(f"{folder / name}: is a folder; a file is written here")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            staging.chmod(0o755)
            for name, text in files.items():
                write_atomically(staging / name, text.encode())
            if not folder.exists():
                staging.rename(folder)
                return
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                if not (folder / name).is_file() or (folder / name).read_bytes() != text.encode():
                    (staging / name).replace(folder / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from None


def _c_tables(model: Model, ranges: Mapping[str, Range], form: Form) -> list[_CTable]:
    dsp = form == "dsp"
    tables, in_blocks, kept = [], _takes_blocks(model, form), kept_frames(model, dsp=dsp)
    for name in table_specs(model.manifest):
        table, meaning = model[name], _MEANING[name]
        if in_blocks and name in _BLOCKS:
            places, unit, meaning = _BLOCKS[name]
            table = table.reshape(-1, 4)[:, places] * table.dtype.type(unit)
            if name == "recurrent_weight" and not dsp:
                table, meaning = table.view(np.uint8) ^ np.uint8(128), f"{meaning[:-1]}, plus 128."
        if kept and name == "tap_offset":
            table, meaning = tap_places(model, kept), _PLACES
        comment = f"{name}: {meaning} In [{table.min()}, {table.max()}]." if table.size else f"{name}: empty."
        proven = "; ".join(str(item) for item in ranges.values() if item.table == name)
        if proven:
            comment += f" Over all inputs, {proven}."
        if name == "twiddle_q15":
            tables.append(_CTable(name, "uint32_t", _packed(table), comment, True, len(table)))
        else:
            values, c_type = table.ravel().tolist() or [0], _C_TYPES[table.dtype.str.replace("|", "<")]
            tables.append(_CTable(name, c_type, values, comment, False, table.size))
    return tables


def tap_places(model: Model, kept: int) -> Table:
    """Where taps read of what `keep_four` keeps: `kept` bytes of each band, twice; the newest are the later copy."""
    encoder, n_bands = model.manifest.encoder, model.manifest.frontend.n_bands
    frame, band = np.divmod(model["tap_offset"].astype(np.int64), n_bands)
    return (2 * kept * band + kept - encoder.max_delay_frames + frame).astype("<u2")


_PLACES: Final = "where each tap of each neuron reads, in bytes from the first word that was kept last."
# What `deliver_blocks` takes of every four synapses: which, times what.
_BLOCKS: Final = {
    "recurrent_target": ([0], 2, "where the currents of four neurons begin that synapses reach, in bytes."),
    "recurrent_weight": ([0, 2, 1, 3], 1, "what they add, to each four in the order 0, 2, 1, 3."),
}
_MEANING: Final = {
    "window_q15": "the window function, Q15.",
    "twiddle_q15": "cos - j sin, Q15, real part in the low half.",
    "mel_start": "each band's first bin.",
    "mel_end": "one past each band's last bin.",
    "mel_weight_q8": "the bins' weights, band after band.",
    "tap_offset": "where each tap of each neuron reads, in bytes from the oldest frame.",
    "tap_weight": "the taps' weights, neuron after neuron.",
    "input_start": "each line's first synapse, and the end.",
    "input_target": "the neuron that a synapse reaches, line after line.",
    "input_weight": "what it adds.",
    "leak_q15": "what is left of a membrane potential after a step, Q15.",
    "threshold": "each neuron's threshold.",
    "delay_steps": "steps until a neuron's spikes arrive.",
    "recurrent_start": "each neuron's first outgoing synapse, and the end.",
    "recurrent_target": "the neuron that a synapse reaches, source after source.",
    "recurrent_weight": "what it adds.",
    "readout_weight": "window after window, class after class, neuron after neuron.",
    "length_weight": "each class's weight of the segment's length in frames.",
    "bias": "each class's score before anything is heard.",
    "reject_margin": "by how much the best score must lead.",
    "confidence_gain_q16": "1/256 octaves of odds for a lead of 65536, after its shift.",
    "confidence_shift": "how far a lead is shifted before.",
}


def _packed(points: Table) -> list[int]:
    halves = points.astype(np.int64) & 0xFFFF
    packed: list[int] = (halves[:, 0] | halves[:, 1] << 16).tolist()
    return packed


def _environment() -> jinja2.Environment:
    made = environment()
    made.filters.update(c_rows=_c_rows, c_string=c_string, c_comment=_c_comment, c_field=_c_field)
    return made


def _c_rows(values: Sequence[int], as_hex: bool = False) -> str:
    """Integers in aligned rows of at most 110 columns.

    >>> _c_rows([1, -20, 3])
    '      1, -20,   3,'
    """
    words = [f"0x{value:08X}U" if as_hex else str(value) for value in values]
    width = max(map(len, words))
    each = max((110 - 4) // (width + 2), 1)
    rows = (words[i : i + each] for i in range(0, len(words), each))
    return "\n".join("    " + " ".join(f"{word:>{width}}," for word in row) for row in rows)


def c_string(text: str) -> str:
    r"""Any text as a C string literal: what is not plain becomes octal bytes of its UTF-8 form.

    `_` and `.` are not plain, so that no label looks like a name that `--prefix` renames.

    >>> c_string('a*/"?')
    '"a\\052\\057\\042\\077"'
    """
    plain = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -,")
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _comment_text(text: str) -> str:
    """Text that cannot end a C comment or leave its line."""
    return re.sub(r"[^A-Za-z0-9 _.,=+/-]", "_", text)


def _c_comment(text: str) -> str:
    """A sentence as a C comment of at most 110 columns a line."""
    lines, line = [], "/*"
    for word in text.split():
        if len(line) + 1 + len(word) > 107:
            lines.append(line)
            line = " *"
        line += f" {word}"
    return "\n".join([*lines, f"{line} */"])


def _c_field(field: Field) -> str:
    """One member of the context, its comment aligned."""
    declaration = f"{field.type:8} {field.name}{f'[{field.extent}]' if field.count else ''};"
    return f"{declaration:<56} /* {field.comment} */" if field.comment else declaration


def _renamed(text: str, prefix: str) -> str:
    """Word-boundary rename of the exported names, macros and files."""
    if prefix == "lsm":
        return text
    text = re.sub(r"\blsm(?=_|\.h\b|\.c\b)", prefix, text)
    return re.sub(r"\bLSM(?=_)", prefix.upper(), text)
