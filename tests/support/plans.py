"""Plans of data sets of many kinds: ``python -m tests.support.plans`` writes the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.data.planning.plan import Fingerprint, plan_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plans.md"


def _of_one_size(images: dict[str, int], size: tuple[int, int], object_px: float | None, **more: object) -> Fingerprint:
    return Fingerprint(images, size, size, size, object_px, **more)  # type: ignore[arg-type]


KINDS: dict[str, tuple[str, Fingerprint]] = {
    "GlaS": (
        "glands in 67 fields of 522 x 775 pixels, published split",
        Fingerprint({"benign": 29, "malignant": 38}, (522, 775), (430, 567), (522, 775), 111.2, has_patients=True),
    ),
    "Few small images": (
        "20 photographs of skin, splits drawn, two of each patient",
        _of_one_size({"naevus": 10, "melanoma": 10}, (128, 128), 40.0, has_patients=True, has_split=False),
    ),
    "One class": ("60 grey frames of a microscope", _of_one_size({"cells": 60}, (512, 512), 24.0)),
    "A class without foreground": (
        "ultrasound, a sixth of it normal, frames of several shapes",
        Fingerprint(
            {"benign": 260, "malignant": 130, "normal": 80}, (475, 560), (310, 190), (720, 1050), 70.0, ("normal",)
        ),
    ),
    "Fifty classes": (
        "20 photographs of each of 50 species",
        _of_one_size({f"species {i:02d}": 20 for i in range(1, 51)}, (375, 500), 160.0),
    ),
    "Tiny objects": (
        "nuclei of 14 pixels in fields of 1,000 x 1,000",
        _of_one_size({"a": 90, "b": 90}, (1000, 1000), 14.0, masks=33),
    ),
    "Tiles of slides": (
        "20,000 tiles of 512 x 512 pixels",
        _of_one_size({"normal": 14_000, "tumour": 6_000}, (512, 512), 90.0, headers=500, masks=128),
    ),
    "A hundred thousand large images": (
        "photographs of 3,000 x 4,000 pixels; their masks hold 1 and 2 in place of 0 and 1",
        _of_one_size(
            {"a": 60_000, "b": 40_000}, (3000, 4000), None, rule="--mask_rule#foreground over:1.5", headers=500,
            masks=12,
        ),
    ),
}  # fmt: skip


def page() -> str:
    """Return the page, as Markdown."""
    parts = [
        "# Plans of data of many kinds",
        "What [`plan`](data.md#a-plan) makes of eight data sets, from what it sees of them. The first is real, its "
        "plan is `glas.json`; the others are\nthought of, to show how settings follow from data. Written by "
        "`python -m tests.support.plans`.",
        "Whether a plan helps is measured against the settings of `train.json`, at equal numbers of masks, on two "
        "drawn data sets unlike the\nglands, lesions in speckle and small round cells: `python -m "
        "tests.support.plan_against_defaults --sets lesions cells --seeds 0 1 2 --out FILE.json`.",
    ]
    for name, (about, found) in KINDS.items():
        rows = ["| setting | value | reason |", "|---|---|---|"]
        for choice in plan_of(found):
            value = choice.value if isinstance(choice.value, str) else json.dumps(choice.value)
            shown = "" if choice.value is None else f"`{value}`"
            shown += "" if choice.is_set else (" " if shown else "") + "proposed, not set"
            rows.append(f"| `{choice.key}` | {shown} | {choice.reason} |")
        parts.append(f"## {name}\n\n{about[:1].upper()}{about[1:]}.\n\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
