"""MONAI Label app of a run of active learning: its images, drawn by people, round by round.

``monailabel start_server --app bundle/label_app --studies DIR``; the README beside this file tells the rest.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # holds scripts, in the repository and in the package

from lib import training
from lib.answering import AnsweringModel
from lib.infer import BatchInfer, JointInfer
from lib.refusals import NotNowError, missing
from lib.run import ServedRun
from lib.scoring import AcquisitionScoring
from lib.settings import Settings
from lib.store import RunDatastore
from lib.strategies import strategies_of
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from scripts.core.errors import UserError, exit_code
from scripts.core.plain_errors import show_user_errors_plainly

logger = logging.getLogger(__name__)

MODEL = "joint"
"""Name of the model and its trainer in the API."""


class WeakAnnotatorApp(MONAILabelApp):
    """The app; MONAI Label makes one in the server, and one in each process that trains or scores for it.

    Args:
        app_dir: this folder.
        studies: data folder or table (docs/data.md).
        conf: see :class:`lib.settings.Settings`.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        with _told_plainly():
            show_user_errors_plainly()
            settings.MONAI_LABEL_SESSIONS = False  # they unpack archives and keep images of anybody in the home folder
            self.run = ServedRun(Settings.of(Path(app_dir), studies, conf or {}))
            self.answering = AnsweringModel(self.run)
            classes = list(self.run.data.classes)
            super().__init__(
                app_dir, studies, dict(conf or {}), "Active learning with a weak annotator",
                f"Run {self.run.folder.name}: {len(self.run.train_ids)} training images of {', '.join(classes)}",
                labels=["foreground", "ignore", *classes],
            )  # fmt: skip
            self._auto_update_scoring = False  # it would start a process for every image that is asked for
            self.run.refuse_other_data()

    # ---- tasks ---------------------------------------------------------------------------------------------------

    def init_datastore(self) -> Datastore:
        """Return the store over the run."""
        return RunDatastore(self.run)

    def init_infers(self) -> dict[str, InferTask]:
        """Return the model."""
        return {MODEL: JointInfer(self.run, self.answering)}

    def init_batch_infer(self) -> BatchInfer:
        """Return the model for many images."""
        return BatchInfer()

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return the trainer, whose call is a round."""
        return {MODEL: training.RoundTrain(self.run)}

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the queue of the run, and the acquisition functions."""
        return strategies_of(self.run)

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Return a method for each strategy that has scores."""
        methods = {name: self.run.methods[name] for name in strategies_of(self.run) if name in self.run.methods}
        return {name: AcquisitionScoring(self.run, name, method) for name, method in methods.items() if method.score}

    # ---- requests ------------------------------------------------------------------------------------------------

    @property
    def trainers(self) -> Mapping[str, TrainTask]:
        """The trainers by name."""
        return self._trainers

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next image, leased to ``request["user"]``, or a ``message``.

        Raises:
            MissingError: no such strategy.
        """
        name = request.get("strategy") or "queue"
        if name not in self._strategies:
            raise missing("no strategy of this name", name, ", ".join(self._strategies))
        request = {"user": "annotator", **request, "starting": training.is_ordered()}
        found = self._strategies[name](request, self._datastore)
        return {**found, "path": self._datastore.get_image_uri(found["id"])} if "id" in found else found

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Predict an image of the run (``image`` is its id) or an uploaded one (``image`` is a ``Path``).

        A client can only send text, so no request names a file of the server.

        Raises:
            MissingError: no such model or image.
        """
        name = request.get("model") or MODEL
        if name not in self._infers:
            raise missing("no model of this name", name, ", ".join(self._infers))
        image = request["image"]
        path = image if isinstance(image, Path) else Path(self._datastore.get_image_uri(str(image)))
        file, told = self._infers[name]({**request, "image": path})
        return {"label": file, "tag": "original", "file": file, "params": told}

    def infer_wsi(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Predict with polygons; see :meth:`infer`."""
        return self.infer({"output": "dsa", **request}, datastore)

    def people_status(self) -> dict[str, Any]:
        """Return where the run stands, for people."""
        situation = self.run.situation(training.is_ordered())
        found: dict[str, Any] = {
            "run": self.run.folder.name, "state": situation.kind, "round": situation.round, "rounds": self.run.rounds,
            "message": situation.text, "waiting": list(situation.waiting), "best_round": self.run.best_round(),
        }  # fmt: skip
        try:
            desk = self.run.desk()
        except NotNowError:
            return found
        return {
            **found,
            "pending": [row.id for row in desk.pending()],
            "leases": [vars(row) for row in desk.leases(time.time()).values()],
            "skipped": [vars(row) for row in desk.skipped().values()],
            "refused": [vars(row) for row in desk.refusals()][-100:],
        }

    # ---- the server ----------------------------------------------------------------------------------------------

    def on_init_complete(self) -> None:
        """Called in the server before it opens its port: our routes and limits go in."""
        from lib import routes, server  # only the server needs them
        from monailabel.app import app as fastapi_app

        with _told_plainly():
            host = server.bind()
            server.equip(fastapi_app, routes.router)
            logger.info("%s\n%s", self.description, self.run.situation().text)
            server.tell_access(host)


@contextmanager
def _told_plainly() -> Iterator[None]:
    """End the program with the text of a user's error alone.

    While a server starts, uvicorn would bury it under the frames of its own; elsewhere the hook of
    ``show_user_errors_plainly`` does it.
    """
    try:
        yield
    except UserError as error:
        if "start_server" not in sys.argv:
            raise
        sys.stderr.write(f"\nerror: {error}\n")
        sys.stderr.flush()
        logging.shutdown()
        os._exit(exit_code(error))  # an exit here would be caught, and told with its frames
