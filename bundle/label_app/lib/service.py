"""All that routes need: the run, its images, the model that answers, who is next, and the work that goes on."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from lib.access.limits import Turns
from lib.answering import AnsweringModel
from lib.images import ServedImages
from lib.infer import JointInfer
from lib.refusals import NotNowError, missing
from lib.run import ServedRun
from lib.settings import Settings
from lib.strategies import strategies_of
from lib.work.jobs import Jobs
from lib.work.training import Trainings

MODEL = "joint"
"""Name of the model and its trainer in the API."""
_SHOWN = 100  # refusals


class Service:
    """One run that is served. Threads share it.

    Args:
        settings: of the server.
        conf: what they were made of, for processes that begin with the same.
    """

    def __init__(self, settings: Settings, conf: Mapping[str, str]) -> None:
        self.run = ServedRun(settings)
        self.answering = AnsweringModel(self.run)
        self.images = ServedImages(self.run)
        self.infer = JointInfer(self.run, self.answering)
        self.strategies = strategies_of(self.run)
        named = {name: self.run.methods[name] for name in self.strategies if name in self.run.methods}
        self.scored = {name: method for name, method in named.items() if method.score}
        self.trainings, self.scorings = Trainings(self.run), Jobs("a scoring", "/scoring/")
        self.predictions = Jobs("a prediction of many images", "/batch/infer")
        # Together fewer than there are threads, so that questions find one whatever is waited for.
        self.predicting, self.taking = Turns("predictions", 1, 48), Turns("masks", 2, 32)
        self.changing = Turns("requests for images", 4, 32)
        self._conf = dict(conf)
        self._roots = self._known_roots()

    # ---- told ----------------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """Return what the server is and has, in MONAI Label's form."""
        classes = list(self.run.data.classes)
        return {
            "name": "Active learning with a weak annotator",
            "description": f"Run {self.run.folder.name}: {len(self.run.train_ids)} training images of "
            f"{', '.join(classes)}",
            "version": json.loads((self.run.settings.bundle_root / "configs" / "metadata.json").read_text())["version"],
            "labels": ["foreground", "ignore", *classes],
            "models": {MODEL: self.infer.info()},
            "trainers": {MODEL: self.trainings.info()},
            "strategies": {name: _described(strategy.description) for name, strategy in self.strategies.items()},
            "scoring": {name: _described(f"Scores {name} of all images without a mask") for name in self.scored},
            "train_stats": {MODEL: self.trainings.stats()},
            "datastore": self.images.status(),
        }

    def status(self) -> dict[str, Any]:
        """Return where the run stands, for people."""
        situation, last = self.run.situation(self.trainings.jobs.is_running), self.trainings.jobs.last()
        unusable = {key: self.run.unusable(key) for key in situation.waiting}
        found: dict[str, Any] = {
            "run": self.run.folder.name, "state": situation.kind, "round": situation.round, "rounds": self.run.rounds,
            "message": situation.text, "waiting": list(situation.waiting), "best_round": self.run.best_round(),
            "unusable": {key: self.plain(problem) for key, problem in unusable.items() if problem},
            "training": None if last is None else {"status": last.status, "error": self.plain(last.error) or None},
        }  # fmt: skip
        try:
            desk = self.run.looking()
        except NotNowError:
            return found
        held = desk.leases(time.time(), self.run.settings.lease_seconds)
        return {
            **found,
            "pending": [row.id for row in desk.pending()],
            "leases": [vars(row) for row in held.values()],
            "skipped": [vars(row) for row in desk.skipped().values()],
            "refused": [{**vars(row), "reason": self.plain(row.reason)} for row in desk.refusals(_SHOWN)],
        }

    def plain(self, text: str) -> str:
        """Return a text without the folders of this computer, for who is not the lead."""
        for root, name in self._roots:
            text = text.replace(f"{root}/", f"{name}/" if name else "").replace(root, name or "...")
        return text

    # ---- done ----------------------------------------------------------------------------------------------------

    def next_image(self, strategy: str, user: str, preferred: str) -> dict[str, Any]:
        """Return the next image, leased to ``user``, or a ``message``. Raises MissingError: no such strategy."""
        if strategy not in self.strategies:
            raise missing("no strategy of this name", strategy, ", ".join(self.strategies))
        with self.changing.turn():
            return self.strategies[strategy](user, preferred, self.trainings.jobs.is_running)

    def require_model(self, name: str) -> None:
        """Raise MissingError unless there is a model of this name."""
        if name != MODEL:
            raise missing("no model of this name", name, MODEL)

    def order(self, what: str, **more: Any) -> dict[str, Any]:
        """Return what a process of :mod:`lib.work.child` is told."""
        run = self.run.settings
        return {"what": what, "app_dir": str(run.app_dir), "studies": run.studies, "conf": self._conf, **more}

    def _known_roots(self) -> list[tuple[str, str]]:
        """Return folders, and what is told in place of each; the longest first."""
        run = self.run
        named = [(Path(run.data.datalist.root), ""), (run.folder, run.folder.name), (run.output_dir, ""),
                 (run.stage0_dir, run.stage0_dir.name), (run.settings.bundle_root, ""), (Path(sys.prefix), ""),
                 (Path(tempfile.gettempdir()), ""), (Path.home(), "")]  # fmt: skip
        if run.settings.ckpt is not None:
            named.append((run.settings.ckpt.parent, ""))
        found = {str(form): name for path, name in named for form in (path.absolute(), path.resolve())}
        return sorted(((root, name) for root, name in found.items() if len(root) > 1), key=lambda pair: -len(pair[0]))


def _described(text: str) -> dict[str, Any]:
    return {"description": text, "config": {}}


def _of_the_app(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Served = Annotated[Service, Depends(_of_the_app)]
"""Parameter of a route: what is served."""
