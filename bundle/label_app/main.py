"""MONAI Label app of a run of active learning: its images, drawn by people, round by round.

``monailabel start_server --app bundle/label_app --studies DIR``; the README beside this file tells the rest.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # holds scripts, in the repository and in the package

from lib.access.log import move_log
from lib.service import Service
from lib.settings import Settings
from monailabel.interfaces.app import MONAILabelApp

from scripts.core.errors import UserError, exit_code
from scripts.core.plain_errors import show_user_errors_plainly

logger = logging.getLogger(__name__)


class WeakAnnotatorApp(MONAILabelApp):
    """The app, as MONAI Label makes it in its server. Of MONAI Label nothing else is used: not its store, its tasks,
    its sessions nor its routes, so that nothing which a client sends can reach them.

    Args:
        app_dir: this folder.
        studies: data folder or table (docs/data.md).
        conf: see :class:`lib.settings.Settings`.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        with _told_plainly():
            show_user_errors_plainly()
            settings = Settings.of(Path(app_dir), studies, conf or {})
            self.service = Service(settings, conf or {})
            self.service.run.refuse_another()

    def server_mode(self, mode: bool) -> None:
        """Called by MONAI Label; there is no other mode."""

    def on_init_complete(self) -> None:
        """Called in the server before it opens its port: our routes and limits go in."""
        from lib import server  # only the server needs them
        from lib.routes.everything import ROUTERS
        from monailabel.app import app as fastapi_app

        with _told_plainly():
            run = self.service.run
            host = server.bind()
            server.equip(fastapi_app, ROUTERS, self.service, host)
            move_log(run.folder, run.settings.app_dir)
            info = self.service.info()
            logger.info("%s: %s\n%s", info["name"], info["description"], run.situation().text)
            server.tell_access(host)


@contextmanager
def _told_plainly() -> Iterator[None]:
    """End the program with the text of a user's error alone, while a server starts.

    uvicorn would bury it under the frames of its own; elsewhere the hook of ``show_user_errors_plainly`` does it.
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
