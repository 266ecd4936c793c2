"""The tree of exceptions, as its docstring draws it."""

from __future__ import annotations

import inspect

import pytest

from lsm_edge import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


def test_the_tree_is_the_one_that_is_drawn() -> None:
    drawn = [line.split()[1] for line in (errors.__doc__ or "").splitlines() if "──" in line]
    assert sorted(["LsmEdgeError", *drawn]) == sorted(kind.__name__ for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_one_of_ours_and_not_a_builtin(kind: type[errors.LsmEdgeError]) -> None:
    assert issubclass(kind, errors.LsmEdgeError)
    assert not issubclass(kind, ValueError | OSError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_difference_is_no_bad_input(kind: type[errors.LsmEdgeError]) -> None:
    """Exit codes: 1 for a check that found a difference, 2 for everything that is the user's to mend."""
    assert kind.exit_code == (1 if kind is errors.MismatchError else 2)
