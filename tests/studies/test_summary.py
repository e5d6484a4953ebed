"""The table that a study ends with."""

from __future__ import annotations

from typing import Any

import numpy as np

from scripts.studies.summary import by_method, dice_of, last_round, masks_of, summary_table


def result(method: str, seed: int, dices: list[float]) -> dict[str, Any]:
    rows = [{"round": at, "masks": 2 + at, "dice": dice} for at, dice in enumerate(dices)]
    return {"method": method, "seed": seed, "rounds": rows}


def test_rounds_that_all_seeds_have() -> None:
    results = [result("a", 1, [0.2, 0.4, 0.6]), result("b", 0, [0.5]), result("a", 0, [0.1, 0.3]), result("c", 0, [])]
    found = by_method(results)
    assert {name: [one["seed"] for one in some] for name, some in found.items()} == {"a": [0, 1], "b": [0]}
    assert last_round(found["a"]) == 1
    assert np.allclose(dice_of(found["a"]), [[0.1, 0.3], [0.2, 0.4]])
    assert masks_of(found["a"]).tolist() == [2, 3]


def test_a_line_per_method() -> None:
    head, line, *rows = summary_table(
        [result("a", 0, [0.1, 0.3]), result("a", 1, [0.2, 0.4]), result("full", 0, [0.5])]
    ).splitlines()
    assert head.split()[:3] == ["method", "seeds", "masks"] and len(line) == len(head)
    assert "a" in rows[0] and "2 to 3" in rows[0] and "0.1500 ± 0.0500" in rows[0] and "0.3500 ± 0.0500" in rows[0]
    assert rows[1].split() == ["full", "1", "2", "-", "0.5000", "-"]
    assert len({len(row) for row in (head, *rows)}) == 1


def test_no_result_is_a_head_alone() -> None:
    assert len(summary_table([]).splitlines()) == 2
