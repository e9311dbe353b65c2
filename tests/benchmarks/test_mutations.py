"""Mistakes that have once survived are noticed by the tests that are about them."""

from __future__ import annotations

import pytest

from benchmarks.mutations import CONTROL, MUTATIONS, Mutation, killed, unclear


def test_every_mutation_is_one_line_that_is_there() -> None:
    """count(old in file) == 1: a mutation that changes nothing would survive for nothing"""
    assert not list(unclear())


@pytest.mark.long
def test_a_copy_without_a_mistake_passes() -> None:
    assert not killed(CONTROL)


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_mutation_is_killed_by_its_own_tests(mutation: Mutation) -> None:
    assert killed(mutation)
