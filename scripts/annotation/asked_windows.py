"""Windows that a run asked for instead of whole images, as its state tells. A method without regions has none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from scripts.core.run_names import WINDOWS
from scripts.images.windows import Window
from scripts.state.reader import StateReader


def windows_json(windows: Mapping[str, Window]) -> bytes:
    """Return the artifact of a round: id -> [top, left, height, width], those of reserves among them."""
    return json.dumps({key: [w.top, w.left, w.height, w.width] for key, w in windows.items()}, sort_keys=True).encode()


def windows_of_round(state: StateReader, index: int) -> dict[str, Window]:
    """Return the window of each query and reserve of a round; of images that are asked for whole there is none."""
    try:
        blob = state.artifact(index, WINDOWS)
    except KeyError:
        return {}
    return {key: Window(*numbers) for key, numbers in json.loads(state.read_blob(blob)).items()}


def asked_windows(state: StateReader, up_to_round: int) -> dict[str, list[Window]]:
    """Return all windows of each image that rounds up to this one asked for, in their order.

    Raises:
        StateError: the state cannot be read.
    """
    found: dict[str, list[Window]] = {}
    for index in range(up_to_round + 1):
        windows = windows_of_round(state, index)
        for key in state.asked(index) if windows else ():
            if key in windows:
                found.setdefault(key, []).append(windows[key])
    return found


def asks(windows: Mapping[str, list[Window]], images: Iterable[str]) -> int:
    """Return how often an oracle was asked for some images: once for a whole one, else once per window."""
    return sum(len(windows.get(key, [])) or 1 for key in images)
