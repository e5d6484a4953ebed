"""Generators of torch, and a block that leaves no trace in the global ones."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from scripts.core.torch_rng import isolated_rng, torch_generator


def test_isolated_rng_seeds_inside_and_restores_outside():
    torch.manual_seed(11)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    with isolated_rng(5):
        first = torch.rand(3)
    with isolated_rng(5):
        assert torch.equal(torch.rand(3), first)
    with isolated_rng(6):
        assert not torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_isolated_rng_restores_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="stop"), isolated_rng(5):
        torch.rand(3)
        raise RuntimeError("stop")
    assert torch.equal(torch.get_rng_state(), before)


def test_generators_repeat_per_purpose():
    def draw(generator: torch.Generator) -> float:
        return torch.rand(1, generator=generator).item()

    assert draw(torch_generator(3, "a")) == draw(torch_generator(3, "a"))
    assert len({draw(torch_generator(*purpose)) for purpose in ((3, "a"), (3, "b"), (4, "a"))}) == 3
