"""Which values of a config a person has set, so that a plan leaves them alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from scripts.core.config.words import CommandLine
from scripts.core.run_config import RunConfig


def by_hand(config: RunConfig, typed: CommandLine) -> set[str]:
    """Return the ids of a config that somebody set: on the command line, in an overlay, or other than the bundle does.

    Args:
        config: of the run.
        typed: its command line.
    """
    found = set(typed.ids)
    for file in typed.files[1:]:
        found |= {key.replace("::", "#") for key in ConfigParser.load_config_file(file) if not key.startswith("_")}
    shipped = _shipped(config)
    return found if shipped is None else found | set(_changed(config.content, shipped))


def _shipped(config: RunConfig) -> Mapping[str, Any] | None:
    root = Path(str(config.parser().get_parsed_content("bundle_root")))
    files = (root / folder / "train.json" for folder in ("bundle/configs", "configs"))
    return next((json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()), None)


def _changed(content: Mapping[str, Any], shipped: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in content.items():
        before = shipped.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _changed(value, before, f"{prefix}{key}#")
        elif value != before:
            yield f"{prefix}{key}"
