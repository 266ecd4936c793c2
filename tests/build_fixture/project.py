"""A PlatformIO project around the library in `lib/lsm`, laid out as `lsm-edge generate` does it."""

from __future__ import annotations

from pathlib import Path

from lsm_edge.assets import asset
from lsm_edge.board import Board
from lsm_edge.target.templates import render

LIBRARY = Path(__file__).parent / "lib" / "lsm"
TEMPLATES = {
    "platformio.ini": "platformio.ini.j2",
    "linker.ld": "linker.ld.j2",
    "README.md": "project_readme.md.j2",
    "src/board.h": "board.h.j2",
    "lib/lsm/library.json": "library.json.j2",
}


def project_files(board: Board) -> dict[str, str]:
    """Every file of the project, by its path."""
    values = {
        "board": board,
        "name": "fixture",
        "version": "0.0.0",
        "prefix": "lsm",
        "model_digest": "0123456789abcdef" * 4,
        "labels": ["up", "down", "not moved"],
        "n_neurons": 5,
    }
    files = {path: render(name, values) for path, name in TEMPLATES.items()}
    files |= {f"lib/lsm/{path.name}": path.read_text(encoding="utf-8") for path in LIBRARY.iterdir()}
    files |= {to: (asset("firmware") / source).read_text(encoding="utf-8") for source, to in board.sources.items()}
    return files


def write_project(folder: Path, board: Board) -> Path:
    """Write the project into `folder`."""
    for name, text in project_files(board).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
