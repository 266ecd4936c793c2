"""The integer vocabulary, against plain Python integers and against its twin in C."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import Kernels
from needs import need_host_compiler

from lsm_edge import fixed

INT16 = np.arange(-32768, 32768)
FACTORS = [0, 1, 2, 16384, 28672, 30720, 32760, 32766, 32767]
POSITIVE = st.integers(0, 2**63 - 1)
AROUND_POWERS = np.unique([max(2**k + d, 0) for k in range(62) for d in (-2, -1, 0, 1, 2)])


def python_log2_q8(x: int) -> int:
    if x == 0:
        return 0
    e = x.bit_length() - 1
    m = (x >> (e - 8) if e >= 8 else x << (8 - e)) & 255
    return 256 * e + m + (m * (256 - m) * 88 >> 16)


@given(st.integers(-(2**40), 2**40))
def test_saturate(x: int) -> None:
    assert fixed.saturate_int16(np.array([x])) == [min(max(x, -32768), 32767)]


@given(st.integers(-65535, 65535), st.integers(-32767, 32767))
def test_multiply_is_floor(x: int, factor: int) -> None:
    assert fixed.multiply_q15(np.array([x]), factor) == [math.floor(x * factor / 2**15)]


@pytest.mark.parametrize("factor", FACTORS)
def test_decay(factor: int) -> None:
    want = [(x * factor >> 15) + (1 if x < 0 else 0) for x in INT16.tolist()]
    assert fixed.decay_q15(INT16, factor).tolist() == want


@pytest.mark.parametrize("factor", FACTORS[1:])
def test_every_decay_ends_at_zero(factor: int) -> None:
    """From every start each step comes nearer to zero and never passes it, so zero is reached, and kept."""
    after = fixed.decay_q15(INT16, factor)
    assert (np.abs(after) < np.abs(INT16))[INT16 != 0].all()
    assert (after * INT16 >= 0).all()
    assert after[INT16 == 0] == 0


def test_a_leak_that_leaves_nothing_takes_two_steps() -> None:
    """Without a factor the rule alone is left: from below it passes zero by one, once."""
    after = fixed.decay_q15(INT16, 0)
    assert (after == (INT16 < 0)).all()
    assert not fixed.decay_q15(after, 0).any()


def test_a_decay_in_full() -> None:
    x = INT16
    for _ in range(400):
        x = fixed.decay_q15(x, 30720)
    assert not x.any()


@pytest.mark.parametrize("shift", range(1, 13))
def test_a_leak_shift_is_a_shift(shift: int) -> None:
    """What `docs/numerics.md` says of `leak_shift`."""
    assert (fixed.multiply_q15(INT16, 32768 - (32768 >> shift)) == INT16 + (-INT16 >> shift)).all()


@given(POSITIVE)
def test_bit_length(x: int) -> None:
    assert fixed.bit_length(np.array([x])) == [x.bit_length()]


@given(POSITIVE)
def test_log2(x: int) -> None:
    assert fixed.log2_q8(np.array([x])) == [python_log2_q8(x)]


def test_log2_is_near_and_never_falls() -> None:
    x = np.unique(
        np.concatenate([np.arange(1, 1 << 18), AROUND_POWERS, np.geomspace(1, 2**62, 100_000).astype(np.int64)])
    )
    x = x[x > 0]
    got = fixed.log2_q8(x)
    assert np.abs(got / 256 - np.log2(x.astype(np.longdouble))).max() < 0.017
    assert (np.diff(got) >= 0).all()
    assert (fixed.log2_q8(2 ** np.arange(62)) == 256 * np.arange(62)).all()


def test_half_to_the_is_near_and_never_rises(kernels: Kernels) -> None:
    x = np.arange(1 << 16)
    got = fixed.half_to_the_q15(x)
    assert np.abs(got / 32768 - 2.0 ** (-x / 256)).max() < 0.0025
    assert (np.diff(got) <= 0).all()
    assert (got[::256][:16] == 32768 >> np.arange(16)).all()
    assert not got[16 * 256 :].any()
    assert [kernels.half_to_the_q15(i) for i in [*x, 2**32 - 1]] == [*got.tolist(), 0]


def test_sqrt() -> None:
    x = np.arange(65536)
    assert fixed.sqrt_floor(x).tolist() == [math.isqrt(i) for i in range(65536)]


def test_saturate_in_c(kernels: Kernels) -> None:
    ends = [-(2**31), 2**31 - 1, -(2**24), 2**24]
    x = np.concatenate([np.arange(-66000, 66000), ends])
    assert [kernels.saturate_int16(i) for i in x] == fixed.saturate_int16(x).tolist()


@pytest.mark.parametrize("factor", [*FACTORS, -32767, -1])
def test_multiply_and_decay_in_c(kernels: Kernels, factor: int) -> None:
    x = np.concatenate([INT16[::3], [-65535, 65535, 32768, -32769]])
    assert [kernels.multiply_q15(i, factor) for i in x] == fixed.multiply_q15(x, factor).tolist()
    if factor >= 0:
        assert [kernels.decay_q15(i, factor) for i in INT16] == fixed.decay_q15(INT16, factor).tolist()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """The kernels as for a core that cannot count leading zeros."""
    return Kernels([*need_host_compiler(), "-DLSM_HAS_CLZ=0"], tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("core", ["kernels", "small"])
def test_logarithms_and_roots_in_c(core: str, request: pytest.FixtureRequest) -> None:
    kernels = request.getfixturevalue(core)
    x = np.concatenate([np.arange(70_000), AROUND_POWERS])
    assert [kernels.log2_q8(i) for i in x] == fixed.log2_q8(x).tolist()
    word = x[x < 2**32]
    assert [kernels.bit_length(i) for i in word] == fixed.bit_length(word).tolist()
    half = np.arange(65536)
    assert [kernels.sqrt_floor(i) for i in half] == fixed.sqrt_floor(half).tolist()


@given(POSITIVE)
def test_log2_of_anything_in_c(kernels: Kernels, small: Kernels, x: int) -> None:
    assert kernels.log2_q8(x) == small.log2_q8(x) == python_log2_q8(x)


@given(st.integers(-32768, 32767), st.integers(-32768, 32767))
def test_a_pair_is_a_word(kernels: Kernels, first: int, second: int) -> None:
    assert kernels.load_aligned(np.array([first, second], np.int16)) == first % 2**16 + second % 2**16 * 2**16
