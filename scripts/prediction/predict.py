"""The command ``predict``: every image of a folder, a table or a file through a trained model, results on the disk.

An image that cannot be read is listed and skipped; all others are predicted, and the command fails at its end.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, SupervisedEvaluator
from torch.utils.data import Dataset
from tqdm import tqdm

from scripts.core.errors import InputError, Problem, user_error_of
from scripts.core.files import remove_leftovers, write_atomic
from scripts.core.result_files import csv_bytes, versions
from scripts.networks.outputs import Prediction
from scripts.prediction.listing import MARK, ListedImage, readable
from scripts.prediction.results import BITS, remove_results, write_results
from scripts.trained.source import ModelSource

logger = logging.getLogger(__name__)

_ERROR = "error"


class ListedDataset(Dataset):
    """Images of :func:`scripts.prediction.listing.list_images`, read when they are asked for.

    Args:
        data: the images.
        transform: of a dict with ``image`` (path) and ``id``.
    """

    def __init__(self, data: Sequence[ListedImage], transform: Callable[[dict[str, Any]], Any]) -> None:
        self.data, self.transform = list(data), transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the transformed image with its ``index``; of one that cannot be read its problems, as ``error``."""
        image = self.data[index]
        sample = {"image": str(image.path), "id": image.id, "index": torch.tensor(index)}
        try:
            return self.transform(sample)
        except (InputError, RuntimeError) as error:  # MONAI wraps what a transform raises
            found = user_error_of(error)
            if not isinstance(found, InputError):
                raise
            return {"image": torch.zeros(3, 1, 1), "id": image.id, "index": sample["index"], _ERROR: found.problems}


class SkippingEvaluator(SupervisedEvaluator):
    """MONAI's evaluator that passes over what :class:`ListedDataset` could not read."""

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        if isinstance(batchdata, Mapping) and _ERROR in batchdata:
            engine.state.output = []
            return engine.state.output
        return super()._iteration(engine, batchdata)


class PredictionSaver:
    """Handler that writes the results of each image as it leaves the network, and ``predictions.csv`` at the end.

    Args:
        output_dir: folder of the results.
        dataset: the images.
        model: their model.
        bits: 8 or 16, of probabilities in PNG.
        overlays: whether overlays are drawn.
        writers: threads that encode and write while the next image is predicted; as many images wait for them at most.
        progress: show a bar on stderr.

    Attributes:
        problems: of images that were skipped.

    Raises:
        InputError: another number of bits, or no writer.
    """

    def __init__(
        self,
        output_dir: str | Path,
        dataset: ListedDataset,
        model: ModelSource,
        bits: int = 8,
        overlays: bool = True,
        writers: int = 2,
        progress: bool = True,
    ) -> None:
        if bits not in BITS:
            raise InputError(Problem("unknown depth of a PNG", "save#bits", "8 or 16", repr(bits)))
        if writers < 1:
            raise InputError(Problem("no thread to write", "save#writers", "1 or more", repr(writers)))
        self.folder, self.dataset, self.model = Path(output_dir), dataset, model
        self.bits, self.overlays, self.writers, self.progress = bits, overlays, int(writers), progress
        self.problems: list[Problem] = []
        self._rows: list[dict[str, Any]] = []
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()
        self._bar: tqdm | None = None
        self._since = 0.0

    def attach(self, evaluator: Evaluator) -> None:
        """Follow ``evaluator``."""
        evaluator.add_event_handler(Events.STARTED, self._start)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._save)
        evaluator.add_event_handler(Events.COMPLETED, self._finish)
        evaluator.add_event_handler(Events.COMPLETED | Events.TERMINATE | Events.EXCEPTION_RAISED, self._close)

    def _start(self, _: Engine) -> None:
        """Make the folder ready; what says that a prediction is complete goes first."""
        remove_leftovers(self.folder)
        for name in ("predictions.csv", "predictions.json"):
            (self.folder / name).unlink(missing_ok=True)
        write_atomic(self.folder / MARK, b"Results of a prediction: not searched for images.\n")
        self.problems, self._rows, self._since = [], [], time.perf_counter()
        self._pool = ThreadPoolExecutor(self.writers)
        total = len(self.dataset)
        self._bar = tqdm(total=total, desc="predicting", unit="image", disable=not self.progress, dynamic_ncols=True)

    def _save(self, evaluator: Evaluator) -> None:
        batch, output = evaluator.state.batch, evaluator.state.output
        if isinstance(batch, Mapping):  # not decollated: it was skipped
            for index, problems in zip(batch["index"].tolist(), batch[_ERROR], strict=True):
                self._skip(self.dataset.data[index], problems)
            return
        for sample, found in zip(batch, output, strict=True):
            image, prediction = self.dataset.data[int(sample["index"])], found["prediction"]
            mask = torch.as_tensor(found["pred"]).cpu().numpy().T  # (W, H) -> (H, W)
            preview = torch.as_tensor(sample["preview"]).cpu().numpy()
            self._write(image, prediction, mask, preview, self.model.info, self.bits, self.overlays)
            self._note(self._row(image, prediction, found["result"]))

    def _write(self, *result: Any) -> None:
        """Write a result in a thread; raises what went wrong with earlier ones."""
        if self._pool is None:
            raise RuntimeError("the evaluator did not start")
        self._waiting.append(self._pool.submit(write_results, self.folder, *result))
        while len(self._waiting) > self.writers:
            self._waiting.popleft().result()

    def _skip(self, image: ListedImage, problems: Sequence[Problem]) -> None:
        remove_results(self.folder, image)
        self.problems.extend(problems)
        self._note({**self._row(image, None, None), _ERROR: readable("; ".join(str(problem) for problem in problems))})

    def _row(self, image: ListedImage, found: Prediction | None, result: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return a row of ``predictions.csv``; what an image that was skipped does not have is empty."""
        height, width = found.size if found is not None else ("", "")
        values: Mapping[str, Any] = {} if result is None else result
        named: Mapping[str, Any] = values.get("classification", {})
        probs: Mapping[str, float] = named.get("probabilities", {})
        return {
            "image": image.name,
            "id": readable(image.id),
            "class": named.get("class", ""),
            **{f"probability_{name}": _rounded(probs.get(name)) for name in self.model.info.classes},
            "foreground_fraction": _rounded(values.get("foreground_fraction")),
            "threshold": _rounded(values.get("threshold")),
            "height": height,
            "width": width,
        }

    def _note(self, row: dict[str, Any]) -> None:
        now = time.perf_counter()
        self._rows.append({**row, "seconds": f"{now - self._since:.3f}", _ERROR: row.get(_ERROR, "")})
        self._since = now
        if self._bar is not None:
            self._bar.update()

    def _finish(self, evaluator: Engine) -> None:
        while self._waiting:
            self._waiting.popleft().result()
        content = {
            "model": json.loads(self.model.info.to_json()),
            "images": len(self._rows),
            "skipped": sum(bool(row[_ERROR]) for row in self._rows),
            "engine": getattr(getattr(evaluator, "inferer", None), "engine", "torch"),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        write_atomic(self.folder / "predictions.csv", csv_bytes(self._rows))
        write_atomic(self.folder / "predictions.json", (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def _close(self, _: Engine, error: BaseException | None = None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._waiting.clear()
        if self._bar is not None:
            self._bar.close()
        if error is not None:
            raise error


def predict_images(evaluator: SkippingEvaluator, saver: PredictionSaver) -> Path:
    """Predict all images of the evaluator's loader and return the folder of the results.

    Raises:
        InputError: when all is done, with the images that could not be read.
        StateError: a result cannot be written; the images after it are not predicted.
    """
    started = time.perf_counter()
    evaluator.run()
    seconds, total, skipped = time.perf_counter() - started, len(saver.dataset), len(saver.problems)
    done = total - skipped
    logger.info("%d of %d images predicted, %.2f images per second", done, total, done / max(seconds, 1e-9))
    logger.info("written: %s", saver.folder)
    if saver.problems:
        raise InputError(saver.problems)
    return saver.folder


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
