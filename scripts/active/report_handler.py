"""After each round: curve files, overlays of the queried images, TensorBoard, MLflow. All can be made again."""

from __future__ import annotations

import logging
from pathlib import Path

from ignite.engine import Engine
from torch.utils.tensorboard import SummaryWriter

from scripts.active.round_context import RoundContext, RoundEvents, round_state
from scripts.core.files import file_stem, temporary_folder, write_atomic
from scripts.core.run_names import Metric, RunFile, Stage, round_name
from scripts.evaluation.metrics import dice
from scripts.images.overlays import overlay_panel
from scripts.images.png import png_bytes
from scripts.images.targets import target_of_png
from scripts.images.windows import cut_out
from scripts.networks.outputs import pseudo_mask
from scripts.report.curve import curve_rows, write_curve
from scripts.report.tracking import Tracking

logger = logging.getLogger(__name__)

DICE_OVER_MASKS = "test_dice_over_masks"
"""The learning curve among TensorBoard's scalars; its steps are numbers of oracle masks."""


class ReportHandler:
    """Write what people look at, from the state and the round's model.

    Args:
        max_overlays: pictures per round; 0 for none.
        tracking: an MLflow store that is kept up to date; None for none.
    """

    def __init__(self, max_overlays: int = 4, tracking: Tracking | None = None) -> None:
        self.max_overlays, self.tracking = max_overlays, tracking

    def attach(self, engine: Engine) -> None:
        """Run at the end of each round of ``engine``."""
        engine.add_event_handler(RoundEvents.REPORT, self)

    def __call__(self, engine: Engine) -> None:
        """Write the exports of the round that ended; ``engine.state.round`` is its context."""
        context = round_state(engine).round
        folder = context.run.state.run_dir
        write_curve(context.run.state, folder)
        self._write_overlays(context, folder / RunFile.OVERLAYS / round_name(context.index))
        self._write_scalars(context, folder / RunFile.TENSORBOARD)
        if self.tracking is not None:
            self.tracking.keep_up(context.run.state)

    def _write_overlays(self, context: RoundContext, folder: Path) -> None:
        run, state = context.run, context.run.state
        asked = [row.id for row in state.queries(context.index)][: self.max_overlays]
        missing = [key for key in asked if not (folder / f"{file_stem(key)}.png").is_file()]
        if not missing:
            return
        items = {item["id"]: item for item in run.data.items("train")}
        pseudo = {row.id: row for row in state.pseudo(context.index - 1, Stage.FINAL)}
        threshold = state.metrics(context.index)[context.index][Metric.THRESHOLD]
        scores = {row.id: row.score for row in state.queries(context.index)}
        windows = context.windows()
        for p in run.learner.predict(missing, context.weights()):
            truth = run.data.store.true_mask(p.id)
            drawn = truth if truth is None or p.id not in windows else cut_out(truth, windows[p.id])
            pred, row = pseudo_mask(p.probs, threshold), pseudo.get(p.id)
            guess = None if row is None else target_of_png(state.read_blob(row.blob)).hard()
            labels = {} if truth is None else {"prediction": f"Dice {dice(pred, truth):.2f}"}
            if row is not None and guess is not None:
                labels["pseudo"] = f"donor {row.donor}" + ("" if truth is None else f", Dice {dice(guess, truth):.2f}")
            window = f", {windows[p.id][-1]}" if p.id in windows else ""
            score = "" if scores[p.id] is None else f", score {scores[p.id]:.4f}"
            title = f"{p.id}, {run.class_of[p.id]}, queried in round {context.index}{score}{window}"
            cam = p.cam(items[p.id]["label"])
            panel = overlay_panel(run.data.store.original_image(p.id), drawn, cam, p.probs, pred, guess, title, labels)
            write_atomic(folder / f"{file_stem(p.id)}.png", png_bytes(panel))

    def _write_scalars(self, context: RoundContext, folder: Path) -> None:
        row = next((row for row in curve_rows(context.run.state) if row["round"] == context.index), None)
        suffix = f".round{context.index:02d}"
        if row is None or any(folder.glob(f"*{suffix}")):  # a run taken up again has written it
            return
        with temporary_folder("tensorboard-") as draft:
            with SummaryWriter(str(draft), filename_suffix=suffix) as writer:
                writer.add_scalar(DICE_OVER_MASKS, row[Metric.DICE], row[Metric.MASKS])
                for name, value in row.items():
                    if isinstance(value, int | float):
                        writer.add_scalar(f"rounds/{name}", value, row[Metric.MASKS])
            for made in draft.iterdir():  # whole or not at all: a file that is there is not written again
                write_atomic(folder / made.name, made.read_bytes())
