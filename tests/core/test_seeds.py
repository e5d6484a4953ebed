"""Seeds and generators: separate, repeatable, and without a trace in the global generators."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from scripts.core.seeds import derive_seed, numpy_generator, python_generator
from scripts.core.torch_rng import isolated_rng, torch_generator


def test_seed_depends_on_every_argument_and_on_nothing_else():
    seeds = [derive_seed(0), derive_seed(1), derive_seed(0, 1), derive_seed(0, 1, 2), derive_seed(0, 2, 1)]
    seeds += [derive_seed(0, 12), derive_seed(0, "order"), derive_seed(0, "order", 0)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert derive_seed(0, "order", 3) == 1044582682  # the same on every machine and in every process


def test_generators_repeat_per_purpose():
    for make in (torch_generator, numpy_generator, python_generator):

        def draw(generator: torch.Generator | np.random.Generator | random.Random) -> float:
            if isinstance(generator, torch.Generator):
                return torch.rand(1, generator=generator).item()
            return float(generator.random())

        assert draw(make(3, "a")) == draw(make(3, "a"))
        assert len({draw(make(3, "a")), draw(make(3, "b")), draw(make(4, "a"))}) == 3
    assert python_generator(7).random() == random.Random(7).random()  # published draws start from the bare seed


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
