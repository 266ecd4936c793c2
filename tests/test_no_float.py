"""No floating point where integers are promised: in the golden model by its syntax tree, in C by its words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lsm_edge"
PYTHON = [PACKAGE / "fixed.py", PACKAGE / "golden.py", *(PACKAGE / "stages").glob("*.py")]
C = [
    *(ROOT / "firmware").rglob("*.[ch]"),
    *(ROOT / "templates").glob("*.c.j2"),
    *(ROOT / "templates").glob("*.h.j2"),
    *(ROOT / "templates").glob("*.[ch]"),
]
SHIPPED = [path for path in C if path.parent.name == "kernels" or path.name.startswith("lsm")]
# What NumPy has for integers: nothing that makes a float of them (sqrt, log2, mean, true_divide, ...).
NUMPY = {
    "add", "append", "arange", "argmax", "asarray", "ascontiguousarray", "array", "bitwise_or", "bool_", "clip",
    "concatenate", "cumsum", "diff", "einsum", "empty", "empty_like", "frombuffer", "full", "int16", "int64", "integer",
    "left_shift", "maximum", "minimum", "ndarray", "ones", "packbits", "repeat", "searchsorted", "sort", "stack",
    "uint8", "uint16", "uint32", "where", "zeros", "zeros_like",
}  # fmt: skip


def floats_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield f"line {line}: {node.value}"
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"line {line}: /"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and not isinstance(node.right, ast.Constant):
            yield f"line {line}: ** something that may be negative"
        if isinstance(node, ast.Name) and node.id in {"float", "complex", "round"}:
            yield f"line {line}: {node.id}"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "np"
            and node.attr not in NUMPY
        ):
            yield f"line {line}: np.{node.attr}"
        if isinstance(node, ast.Attribute) and node.attr in {"mean", "std", "var"}:
            yield f"line {line}: .{node.attr}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (f"line {line}: {name}" for name in names if name in {"math", "cmath", "decimal", "fractions"})


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.name)
def test_the_golden_model_knows_no_float(path: Path) -> None:
    assert list(floats_in(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    ["x = 1.5", "x = a / b", "x /= 2", "np.sqrt(x)", "np.log2(x)", "x.astype(float)", "np.float64(1)", "x.mean()",
     "np.true_divide(a, b)", "import math", "from math import sqrt", "2**-n", "round(x)", "1j"],
)  # fmt: skip
def test_a_float_would_be_seen(code: str) -> None:
    assert list(floats_in(ast.parse(code)))


def without_comments(text: str) -> str:
    text = re.sub(r"/\*.*?\*/|//[^\n]*|{#.*?#}", " ", text, flags=re.DOTALL)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


@pytest.mark.parametrize("path", C, ids=lambda path: path.name)
def test_c_knows_no_float(path: Path) -> None:
    code = without_comments(path.read_text(encoding="utf-8"))
    assert re.findall(r"\b(?:float|double|complex|long double|_Float\w*)\b", code) == []
    assert re.findall(r"(?<![\w.])\d+\.\d*|\b\d+[eE][-+]?\d+\b", code) == []
    assert re.findall(r"#\s*include\s*<(?:math|complex|fenv|float|tgmath)\.h>", code) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_library_needs_no_libc_and_no_heap(path: Path) -> None:
    """What is included, and what is called that is not defined here."""
    code = without_comments(path.read_text(encoding="utf-8"))
    allowed = {"arm_acle.h", "stddef.h", "stdint.h", "string.h"}
    allowed |= {"immintrin.h"} if path.name == "lanes.h" else set()  # which no board runs
    assert set(re.findall(r"#\s*include\s*<([^>]+)>", code)) <= allowed
    assert re.findall(r"\b(?:malloc|calloc|realloc|free|alloca|printf|abs|labs|assert|exit|setjmp)\s*\(", code) == []
    assert re.findall(r"\bmem(?!cpy\b|move\b|set\b)\w+\s*\(|\bstr\w+\s*\(", code) == []


WHAT_THE_CORE_HAS = {
    "defined(__GNUC__)",
    "defined(__GNUC__) && defined(__arm__)",
    "LSM_HAS_DSP && defined(__GNUC__)",
    "defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_DSP)",
    "defined(__GNUC__) && (!defined(__arm__) || defined(__ARM_FEATURE_CLZ))",
    "defined(__GNUC__) && !LSM_HAS_CLZ",
    # Of the machine that trains: how wide its vectors are. All widths are run (differential/matrix.py).
    "defined(__SSE2__)",
    "defined(__AVX2__)",
    "defined(__AVX512BW__) && defined(__AVX512VL__)",
    "N_LANES == 16U",
    "N_LANES == 32U",
}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_macro_changes_a_result(path: Path) -> None:
    """Conditionals guard headers, name attributes, or choose by what the core has; either choice is run."""
    conditions = re.findall(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = r" (?:LSM_\w+_H|LSM_H|LSM_KERNEL|LSM_TABLE|LSM_ASSERT|LSM_HAS_CLZ|LSM_HAS_DSP|__cplusplus|__GNUC__)"
    assert [c for c in conditions if not re.fullmatch(plain, c) and c.strip() not in WHAT_THE_CORE_HAS] == []
