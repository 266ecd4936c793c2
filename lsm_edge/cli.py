"""The command line: parse, call one function, print its result (or one JSON object with `--json`).

Exit codes: 0 done, 1 a check ran and failed, 2 bad input or a missing tool. A user's mistake never shows a traceback.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lsm_edge import __version__
from lsm_edge.board import Board, board_ids, load_board
from lsm_edge.budget import Budget
from lsm_edge.config import Config, load_config, parse_config
from lsm_edge.errors import BuildError, ConfigError, DataError, LsmEdgeError, ModelError
from lsm_edge.files import check_writable
from lsm_edge.model import Model, load_model, save_model

app = typer.Typer(
    name="lsm-edge",
    help="Recordings from a sensor -> a liquid state machine in firmware, proven bit for bit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

BoardOption = Annotated[str, typer.Option("--board", help="Board id; `lsm-edge boards` lists them.")]
ModelOption = Annotated[Path | None, typer.Option("--model", help="Model file; default: the only *.lsm here.")]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the recordings, instead of dataset.path.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
OfflineOption = Annotated[
    bool | None,
    typer.Option("--offline/--online", help="PlatformIO without its registry, or only with it; default: what works."),
]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(f"lsm-edge {__version__}")
        raise typer.Exit


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="The YAML file.", show_default=False)],
    data: DataOption = None,
    split: Annotated[
        str | None, typer.Option(help="Instead of dataset.split: leave-one-group-out or random.", show_default=False)
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Where to write the model; default: CONFIG's name, .lsm")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on recordings and test it on those held back: audio.yaml -> audio.lsm."""
    from lsm_edge.learn.train import train as run

    settings = _with_split(load_config(config), split, config)
    target = model or Path(config.stem + ".lsm")
    check_writable(target)
    training = run(settings, root=config.parent, data=data, stage=_progress)
    save_model(training.model, target)
    result: dict[str, Any] = {
        "accuracy_float": training.accuracy_float,
        "accuracy_quantised": training.accuracy_quantised,
        "ablations": training.ablations,
        "recurrence": training.recurrence and training.recurrence.as_json(),
        "rejection": training.rejection,
        "confidence": training.calibration,
        "seconds": round(training.seconds, 2),
        "model": target.as_posix(),
        "digest": training.model.digest,
        "table_bytes": training.model.table_bytes,
        "context_bytes": training.context_bytes,
        "recordings": len(training.recordings),
        "skipped": [{"path": path, "reason": reason} for path, reason in training.recordings.skipped],
        "implementation": training.implementation,
    }
    if settings.dataset.split.kind == "leave-one-group-out":
        result["groups"] = {fold.name: fold.accuracy_quantised for fold in training.folds}
    if as_json:
        return _print_json(result)
    if training.implementation == "golden":
        err.print("no C compiler found: trained on the golden model (the same integers, slower)")
    for path, reason in training.recordings.skipped:
        err.print(f"skipped {path}: {reason}")
    table = Table("accuracy on recordings held back", "%", title=None)
    table.columns[1].justify = "right"
    bits = settings.readout.weight_bits
    table.add_row(f"liquid, int{bits} readout (what the firmware does)", f"{100 * training.accuracy_quantised:.1f}")
    table.add_row("liquid, float readout", f"{100 * training.accuracy_float:.1f}")
    if training.recurrence is not None:
        table.add_row("liquid, recurrence off", f"{100 * training.recurrence.accuracy_without:.1f}")
    if training.rejection is not None:
        table.add_row("  rejected", f"{100 * training.rejection['rejected']:.1f}")
        table.add_row("  wrong among those accepted", f"{100 * training.rejection['error_of_accepted']:.1f}")
    if training.calibration is not None:
        table.add_row("  mean confidence", f"{100 * training.calibration['mean']:.1f}")
        table.add_row("  confidence is off by", f"{100 * training.calibration['error']:.1f}")
    for name, accuracy in training.ablations.items():
        table.add_row(f"no liquid: {name.replace('_', ' ')}", f"{100 * accuracy:.1f}")
    for name, accuracy in result.get("groups", {}).items():
        table.add_row(f"  group {name}", f"{100 * accuracy:.1f}")
    out.print(table)
    tested = sum(fold.n_test for fold in training.folds)
    out.print(
        f"{len(training.recordings)} recordings, {tested} of them tested, {len(training.recordings.labels)} classes, "
        f"{training.seconds:.1f} s"
    )
    ram = f"context at most {training.context_bytes:,} bytes of RAM"
    out.print(f"tables {training.model.table_bytes:,} bytes of flash, {ram}")
    if training.recurrence is not None:
        out.print(training.recurrence.advice)
    out.print(f"wrote {target} ({training.model.digest[:12]})")
    _next(f"lsm-edge generate --board nucleo_f446re{_model_hint(model, target)}")
    return None


@app.command()
def evaluate(
    model: Annotated[Path | None, typer.Argument(help="Model file; default: the only *.lsm here.")] = None,
    data: DataOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer points, and no metrics of the liquid.")] = False,
    at_least: Annotated[
        float | None, typer.Option(help="Exit with 1 if the accuracy is below so many per cent.", min=0, max=100)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a model on recordings it has never heard: accuracy, robustness, its liquid, advice."""
    from lsm_edge.evaluation import show
    from lsm_edge.evaluation.advice import advise
    from lsm_edge.evaluation.evaluate import evaluate as run

    path = find_model(model)
    found = run(load_model(path), str(path), data=data, quick=quick, stage=_progress)
    advice = advise(found)
    if as_json:
        _print_json(show.as_json(found, advice))
    else:
        if found.implementation == "golden":
            err.print("no C compiler found: judged by the golden model (the same integers, slower)")
        show.show(found, advice, out)
    accuracy = 100 * found.scores.total.accuracy
    if at_least is not None and accuracy < at_least:
        err.print(f"NOT GOOD ENOUGH: accuracy {accuracy:.1f} % is below {at_least:g} %")
        raise typer.Exit(1)


@app.command()
def search(
    config: Annotated[Path, typer.Argument(help="The YAML file.", show_default=False)],
    trials: Annotated[int, typer.Option(help="How many settings to try in all.", min=1)] = 200,
    budget: Annotated[
        str | None, typer.Option(help="At most flash=32KiB,ram=12KiB,instructions=2e6/s; any of them.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes at once; with --dask: tasks.", min=1, max=256)] = 1,
    data: DataOption = None,
    folder: Annotated[Path | None, typer.Option("--out", help="For results; default: CONFIG's name, .search")] = None,
    storage: Annotated[
        str | None, typer.Option(help="Shared by several machines: a journal file or a database URL.")
    ] = None,
    dask: Annotated[str | None, typer.Option(help="A Dask scheduler, such as tcp://host:8786.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find settings that are accurate and fit a budget: audio.yaml -> audio.search/, with models that are ready."""
    try:
        from lsm_edge.search.front import differences, front_table
        from lsm_edge.search.search import search as run
        from lsm_edge.search.watch import Watcher
    except ModuleNotFoundError as error:
        raise ConfigError(f"search needs {error.name}: pip install 'lsm-edge[search]'") from None

    settings = load_config(config)
    limits = Budget.parse(budget, names=("flash", "ram", "instructions")) if budget is not None else Budget()
    out_folder = folder or Path(config.stem + ".search")
    check_writable(out_folder / "front.json")
    with Watcher(err, limits, trials) as watch:
        try:
            found = run(
                settings,
                root=config.parent,
                out=out_folder,
                data=data,
                trials=trials,
                budget=limits,
                workers=workers,
                storage=storage,
                dask=dask,
                watch=watch,
            )
        except KeyboardInterrupt:
            err.print(f"stopped: {watch.progress}; the same command goes on from there")
            raise typer.Exit(130) from None
    if as_json:
        return _print_json(
            {
                "front": [member.as_json() for member in found.members],
                "trials": {outcome: found.count(outcome) for outcome in ("done", "poor", "refused", "killed")},
                "seconds": round(found.seconds, 1),
            }
        )
    out.print(front_table(found.members))
    for member in found.members:
        out.print(f"trial {member.number}: {differences(member.settings, found.baseline)}")
    out.print(f"{watch.progress}; {found.seconds:.1f} s")
    if found.count("done") + found.count("poor") < trials:
        out.print("nothing else was left to try within this budget")
    out.print(f"wrote {out_folder}: front.png, front.json, and a model and its YAML for each")
    _next(f"lsm-edge generate --board nucleo_f446re --model {found.members[0].model}")
    return None


@app.command()
def generate(
    board: BoardOption,
    model: ModelOption = None,
    project: Annotated[Path | None, typer.Option("--out", help="Project folder; default: build/BOARD.")] = None,
    prefix: Annotated[str, typer.Option(help="Begins all exported names; lets two models share a firmware.")] = "lsm",
    as_json: JsonOption = False,
) -> None:
    """Write a PlatformIO project with the model as C: build/<board>/."""
    from lsm_edge.target.codegen import generate_project, write_files
    from lsm_edge.target.context import context_bytes

    path = find_model(model)
    loaded = load_model(path)
    folder = project or Path("build") / board
    command = f"lsm-edge generate --board {board} --model {path.name}"
    command += "" if prefix == "lsm" else f" --prefix {prefix}"
    facts = load_board(board)
    files = generate_project(loaded, facts, command=command, prefix=prefix)
    limits = Budget.of_section(facts.budget, f"boards/{board}.toml: budget") & _budget_of(loaded, path)
    # Of flash, only the tables are known before it is compiled.
    ram_bytes = context_bytes(loaded, dsp=facts.dsp)
    least = SimpleNamespace(flash_bytes=loaded.table_bytes, ram_bytes=ram_bytes)
    _check_budget(limits.over(least))
    write_files(folder, files)
    result = {
        "project": folder.as_posix(),
        "files": sorted(files),
        "table_bytes": loaded.table_bytes,
        "context_bytes": ram_bytes,
    }
    if as_json:
        return _print_json(result)
    out.print(f"wrote {len(files)} files to {folder} for model {loaded.manifest.name} ({loaded.digest[:12]})")
    out.print(f"tables {result['table_bytes']:,} bytes of flash, context {result['context_bytes']:,} bytes of RAM")
    _next(f"lsm-edge build --board {board}")
    return None


@app.command()
def build(
    board: BoardOption,
    project: Annotated[Path | None, typer.Option("--project", help="Project folder; default: build/BOARD.")] = None,
    offline: OfflineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compile the project with PlatformIO."""
    from lsm_edge.target.build import build_project

    facts = load_board(board)
    folder = _project_folder(project, board)
    with _progress("PlatformIO", None):
        built = build_project(folder, facts, offline=offline)
    elf = built.elf.relative_to(Path.cwd()) if built.elf.is_relative_to(Path.cwd()) else built.elf
    result = {
        "elf": elf.as_posix(),
        "flash_bytes": built.flash_bytes,
        "ram_bytes": built.ram_bytes,
        "compiler": built.compiler,
        "offline": built.offline,
    }
    if as_json:
        return _print_json(result)
    out.print(f"built {elf} with {built.compiler}{' (registry not used)' if built.offline else ''}")
    flash, ram = f"{built.flash_bytes:,} of {facts.flash.bytes:,}", f"{built.ram_bytes:,} of {facts.ram.bytes:,}"
    out.print(f"flash {flash} bytes, RAM {ram} bytes")
    _next(f"lsm-edge verify --board {board}")
    return None


@app.command()
def verify(
    board: Annotated[str | None, typer.Option("--board", help="Also run the ELF built for this board.")] = None,
    model: ModelOption = None,
    data: DataOption = None,
    project: Annotated[Path | None, typer.Option("--project", help="Project folder; default: build/BOARD.")] = None,
    emulated: Annotated[int, typer.Option(help="How many recordings to run on the emulated core.", min=1)] = 30,
    certificate: Annotated[
        Path | None, typer.Option(help="Also flip bits under the self-test; write all that was found: JSON and a page.")
    ] = None,
    table_bits: Annotated[int, typer.Option(help="For --certificate: bits of tables to flip.", min=1)] = 2000,
    code_bits: Annotated[int, typer.Option(help="For --certificate: bits of code to flip.", min=0)] = 50,
    check: Annotated[Path | None, typer.Option(help="Run what this certificate claims; does it hold?")] = None,
    dump: Annotated[Path | None, typer.Option(help="Write both sides' taps of the recording that differs.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare golden model, host C and emulated firmware: every integer of every step."""
    from lsm_edge.target import certificate as paper
    from lsm_edge.target.verify import dump_taps, find_prefix, read_library
    from lsm_edge.target.verify import verify as run

    claimed = paper.load_certificate(check) if check else None
    board = board or (claimed.board if claimed else None)
    path = find_model(model)
    loaded = load_model(path)
    if board is None:
        if certificate is not None:
            raise ConfigError("--certificate is about firmware: give --board too")
        recordings = _test_recordings(loaded, path, data)
        with _progress("verify", None) as tick:
            result = run(loaded, recordings, progress=tick)
        parts: dict[str, Any] = {}
    else:
        facts = load_board(board)
        folder = _project_folder(project, facts.id)
        prefix = find_prefix(folder)
        parts = {
            "elf": folder / ".pio" / "build" / facts.id / "firmware.elf",
            "board": facts,
            "library": read_library(folder, prefix),
            "prefix": prefix,
        }
        recordings = _test_recordings(loaded, path, data)
        if certificate is None and claimed is None:
            with _progress("verify", None) as tick:
                result = run(loaded, recordings, **parts, n_emulated=emulated, progress=tick)
        else:
            scope = paper.Scope(emulated_recordings=emulated, table_bits=table_bits, code_bits=code_bits)
            with _progress("certify", None) as tick:
                found, result = paper.certify(
                    loaded, recordings, **parts, scope=claimed.scope if claimed else scope, progress=tick
                )
    broken = paper.broken_claims(claimed, found) if claimed else []
    if as_json:
        checked = {"certificate": {"holds": not broken, "broken": broken}} if claimed else {}
        _print_json({**result.as_json(), **checked})
    else:
        table = Table("target", "recordings", "steps", "integers", "differences")
        for target in result.targets:
            counts = (target.recordings, target.steps, target.integers, target.differences)
            table.add_row(target.name, *(f"{count:,}" for count in counts))
        out.print(table)
        out.print(f"tap digest {result.tap_digest}")
    if dump is not None:
        recording = dump_taps(dump, loaded, recordings, result, **parts)
        err.print(f"wrote both sides' taps of {recording} to {dump}")
    if certificate is not None:
        page = paper.save_certificate(found, certificate)
        err.print(f"wrote {certificate} and {page}")
    for name in result.altered_files:
        err.print(f"altered: {name} of the library in {folder} is not what this lsm-edge generates for this model")
    for line in broken:
        err.print(f"does not hold: {line}")
    if result.differences or broken or (certificate is not None and not found.holds):
        err.print(f"NOT VERIFIED: {result.first_difference or 'see above'}")
        raise typer.Exit(1)
    if not as_json:
        out.print(f"verified: {result.integers:,} integers, 0 differences")
        if claimed is not None:
            out.print(f"{check} holds")
        elif board is not None:
            _next(f"connect the board, then: pio run -d {folder} -t upload")


@app.command()
def profile(
    board: BoardOption,
    model: ModelOption = None,
    data: DataOption = None,
    project: Annotated[Path | None, typer.Option("--project", help="Project folder; default: build/BOARD.")] = None,
    limit: Annotated[int, typer.Option(help="How many recordings to hear.", min=1)] = 10,
    compare: Annotated[Path | None, typer.Option(help="Another model, built for it, beside this one.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="At most flash=32KiB,stack=1KiB,cycles=20000/step,power=900uW and the like.")
    ] = None,
    battery_mah: Annotated[float, typer.Option(help="What the battery holds; a CR2032 does 225.", min=1)] = 225.0,
    battery_volts: Annotated[float, typer.Option(help="The battery's voltage.", min=0.5, max=60)] = 3.0,
    duty_cycle: Annotated[float, typer.Option(help="Share of the time in which it hears.", min=1e-6, max=1)] = 1.0,
    sleep_ua: Annotated[float, typer.Option(help="What flows all the time, in microamperes.", min=0)] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """What a model costs on a board: instructions, cycles, worst case, flash, RAM, stack, energy."""
    from lsm_edge.target import measure
    from lsm_edge.target.show import show, show_both
    from lsm_edge.target.verify import find_prefix

    asked = Budget.parse(budget) if budget is not None else Budget()
    path = find_model(model)
    loaded = load_model(path)
    facts = load_board(board)
    folder = _project_folder(project, facts.id)
    battery = measure.Battery(battery_mah, battery_volts, duty_cycle, sleep_ua)
    recordings, heard = _sounds_for(loaded, path, data, limit)
    elf = folder / ".pio" / "build" / facts.id / "firmware.elf"
    with _progress("profile", None) as tick:
        found = measure.profile(
            loaded, elf, facts, recordings, prefix=find_prefix(folder), heard=heard, battery=battery, progress=tick
        )
    other = None
    if compare is not None:
        other = _profile_of(load_model(compare), facts, recordings, loaded, heard, battery)
    limits = asked & Budget.of_section(facts.budget, f"boards/{facts.id}.toml: budget") & _budget_of(loaded, path)
    broken = found.over(limits)
    if as_json:
        _print_json({**found.as_json(), "broken": broken, **({"compare": other.as_json()} if other else {})})
    else:
        show(found, out)
        if other is not None:
            show_both(found, other, out)
    _check_budget(broken)


@app.command()
def boards(as_json: JsonOption = False) -> None:
    """List the boards."""
    known = [load_board(board_id) for board_id in board_ids()]
    if as_json:
        return _print_json({board.id: board.model_dump(mode="json") for board in known})
    table = Table("id", "name", "core", "MHz", "flash KiB", "RAM KiB")
    for board in known:
        sizes = (board.clock_hz // 10**6, board.flash.bytes >> 10, board.ram.bytes >> 10)
        table.add_row(board.id, board.name, board.core, *map(str, sizes))
    out.print(table)
    return None


def find_model(named: Path | None) -> Path:
    """`named`, or the only model file in the current folder.

    Raises:
        ModelError: there is none, or several; they are listed.
    """
    if named is not None:
        return named
    found = sorted(Path().glob("*.lsm"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelError("no *.lsm in this folder: train one with `lsm-edge train CONFIG.yaml`, or give --model")
    raise ModelError(f"several models in this folder: {', '.join(map(str, found))}; choose one with --model")


def _project_folder(named: Path | None, board_id: str) -> Path:
    folder = named or Path("build") / board_id
    if not (folder / "platformio.ini").is_file():
        raise BuildError(f"{folder}: holds no project; run `lsm-edge generate --board {board_id}` first")
    return folder


def _test_recordings(model: Model, path: Path, data: Path | None) -> list[Any]:
    """The recordings that the model was tested on."""
    from lsm_edge.learn.provenance import find_recordings

    _, recordings, folds = find_recordings(model, str(path), data)
    return [recordings.clips[i] for fold in folds for i in fold.test]


def _sounds_for(model: Model, path: Path, data: Path | None, limit: int) -> tuple[list[Any], str]:
    """Some of the recordings that the model was tested on, evenly spread, or synthetic sounds if there are none."""
    from lsm_edge.target.measure import synthetic_sounds

    try:
        found = _test_recordings(model, path, data)
    except DataError as error:
        if data is not None:
            raise
        err.print(f"{error}\nheard instead: synthetic sounds")
        return list(synthetic_sounds(model.manifest)), "synthetic sounds"
    n = min(limit, len(found))
    return [found[i * len(found) // n] for i in range(n)], "recordings"


def _profile_of(model: Model, board: Board, recordings: list[Any], beside: Model, heard: str, battery: Any) -> Any:
    """The profile of a model that has no project yet: built in a folder of its own."""
    from lsm_edge.target import measure
    from lsm_edge.target.build import build_project
    from lsm_edge.target.codegen import generate_project, write_files

    rates = [each.manifest.frontend.sample_hz for each in (beside, model)]
    if rates[0] != rates[1]:
        raise ConfigError(f"--compare: {model.manifest.name} hears {rates[1]} Hz, {beside.manifest.name} {rates[0]} Hz")
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), generate_project(model, board))
        with _progress("build and profile the other", None):
            built = build_project(Path(folder), board)
            return measure.profile(model, built.elf, board, recordings, heard=heard, battery=battery)


def _budget_of(model: Model, path: Path) -> Budget:
    """What the YAML file that the model was trained from says that it may cost."""
    config = model.provenance.get("config")
    section = config.get("budget") if isinstance(config, dict) else None
    return Budget.of_section(section or {}, f"{path}: budget")


def _check_budget(broken: list[str]) -> None:
    for line in broken:
        err.print(f"over budget: {line}")
    if broken:
        raise typer.Exit(1)


def _with_split(config: Config, split: str | None, source: Path) -> Config:
    if split is None:
        return config
    if split not in ("leave-one-group-out", "random"):
        raise ConfigError(f"--split {split!r}: must be leave-one-group-out or random; others need settings in {source}")
    settings = config.model_dump(mode="json")
    settings["dataset"]["split"] = {"kind": split}
    return parse_config(settings, str(source))


def _model_hint(named: Path | None, target: Path) -> str:
    return f" --model {target}" if named is not None or len(list(Path().glob("*.lsm"))) > 1 else ""


def _next(command: str) -> None:
    out.print(f"next: {command}")


def _print_json(result: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _progress(title: str, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while the block runs; nothing when nobody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        try:
            yield lambda done, of: bar.update(task, completed=done, total=of)
        except KeyboardInterrupt:  # Typer would end without a word
            bar.stop()
            err.print("stopped; nothing half-written was left behind")
            raise typer.Exit(130) from None


def main() -> None:
    """Entry point: a user's mistake becomes a line on standard error and an exit code."""
    try:
        app()
    except LsmEdgeError as error:
        err.print(f"error: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
