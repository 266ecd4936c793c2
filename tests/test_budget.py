"""One grammar says what a model may cost: on the command line, in a board's file, in a config."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import small_config

from lsm_edge.board import load_board
from lsm_edge.budget import Budget
from lsm_edge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("flash=32KiB,ram=12KiB,instructions=2e6/s", Budget(32768, 12288, 2e6)),
        ("flash=20000", Budget(flash_bytes=20000)),
        (" ram = 1.5 kb , instructions=500000", Budget(ram_bytes=1500, instructions_per_s=500000)),
        ("flash=1MiB", Budget(flash_bytes=1048576)),
        ("stack=1KiB,power=0.9mW", Budget(stack_bytes=1024, power_uw=900)),
        (
            "cycles=4e6/s,cycles=20000/step,instructions=9e3/step",
            Budget(cycles_per_s=4e6, cycles_per_step=2e4, instructions_per_step=9000),
        ),
    ],
)
def test_budget(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    "text",
    ["", "flash", "flash=", "flash=many", "flash=-1", "flash=0", "flash=1e3", "flash=3GiB", "rom=3KiB", "ram=1,ram=2",
     "instructions=2e6/h", "instructions=fast", "instructions=1e999", "flash=32KiB;ram=12KiB", "flash=32KiB,",
     "instructions=1/s,instructions=2"],
)  # fmt: skip
def test_bad_budget(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--budget: .*(such as flash=32KiB|given twice)"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["stack=1e3", "power=5", "power=5V", "cycles=5/hop"])
def test_bad_budget_of_other_things(text: str) -> None:
    if text == "power=5":
        with pytest.raises(ConfigError, match=r"must be a power in uW, mW or W, such as power=900uW"):
            Budget.parse(text)
    else:
        with pytest.raises(ConfigError, match=r"--budget: \w+=\S+ must be "):
            Budget.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_a_budget_or_an_error(text: str) -> None:
    with suppress(ConfigError):
        assert isinstance(Budget.parse(text), Budget)


def test_only_some_names() -> None:
    with pytest.raises(ConfigError, match="'stack=1KiB' is not flash= or ram= with a number"):
        Budget.parse("stack=1KiB", names=("flash", "ram"))


def test_what_breaks_a_budget() -> None:
    cost = SimpleNamespace(flash_bytes=2000, ram_bytes=100, instructions_per_s=5e6, power_uw=None)
    assert Budget().broken_by(cost) == ""
    assert Budget(2000, 100, 5e6).broken_by(cost) == ""
    assert Budget(power_uw=1).broken_by(cost) == ""
    assert Budget(1999, inf, 4e6).broken_by(cost) == "flash 2,000 > 1,999, instructions/s 5,000,000 > 4,000,000"
    assert (Budget(1999, 50) & Budget(ram_bytes=60, stack_bytes=1)) == Budget(1999, 50, stack_bytes=1)


def test_sections() -> None:
    section = {"flash": "32KiB", "instructions": ["2e6/s", "9000/step"], "ram": 4096}
    assert Budget.of_section(section, "x") == Budget(32768, 4096, 2e6, instructions_per_step=9000)
    assert Budget.of_section({}, "x") == Budget()
    with pytest.raises(ConfigError, match=r"x: 'rom=1' is not flash="):
        Budget.of_section({"rom": 1}, "x")


def test_config_and_board(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert small_config(budget={"flash": "32KiB"}).budget == {"flash": "32KiB"}
    with pytest.raises(ConfigError, match=r"small.yaml: budget: flash=x must be a size"):
        small_config(budget={"flash": "x"})
    text = (root / "boards" / "nucleo_f446re.toml").read_text(encoding="utf-8")
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "mine.toml").write_text(f'{text}\n[budget]\nram = "8KiB"\n', encoding="utf-8")
    (tmp_path / "boards" / "bad.toml").write_text(f'{text}\n[budget]\nrom = "8KiB"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_board("mine").budget == {"ram": "8KiB"}
    with pytest.raises(ConfigError, match="budget: 'rom=8KiB' is not flash="):
        load_board("bad")
