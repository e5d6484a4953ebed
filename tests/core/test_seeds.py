"""Seeds and generators: separate, repeatable, and without a trace in the global generators."""

from __future__ import annotations

import random

import numpy as np

from scripts.core.seeds import derive_seed, numpy_generator, python_generator


def test_seed_depends_on_every_argument_and_on_nothing_else():
    seeds = [derive_seed(0), derive_seed(1), derive_seed(0, 1), derive_seed(0, 1, 2), derive_seed(0, 2, 1)]
    seeds += [derive_seed(0, 12), derive_seed(0, "order"), derive_seed(0, "order", 0)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert derive_seed(0, "order", 3) == 1044582682  # the same on every machine and in every process


def test_generators_repeat_per_purpose():
    for make in (numpy_generator, python_generator):

        def draw(generator: np.random.Generator | random.Random) -> float:
            return float(generator.random())

        assert draw(make(3, "a")) == draw(make(3, "a"))
        assert len({draw(make(3, "a")), draw(make(3, "b")), draw(make(4, "a"))}) == 3
    assert python_generator(7).random() == random.Random(7).random()  # published draws start from the bare seed
