"""What ``--studies`` and ``--conf`` of the server say, as the config of a run and the command that trains it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from scripts.core.config.words import as_kept
from scripts.core.errors import InputError, Problem

logger = logging.getLogger(__name__)

SHORT = {"method": "active#method", "seed": "active#seed", "rounds": "active#rounds"}
OWN = ("config", "lease_seconds", "ckpt", "hosts")
FIXED = ("oracle", "wait", "dataset_dir", "bundle_root")
OUTPUT_DIR = "runs/label"


@dataclass(frozen=True)
class Settings:
    """Settings of the server.

    Attributes:
        app_dir: this app.
        studies: data folder or table.
        bundle_root: folder that holds ``configs`` and ``scripts``.
        config_files: config and overlays, later ones win.
        overrides: text of values by nested id, as on the command line of a run.
        lease_seconds: how long an image is reserved for who asked for it.
        ckpt: model file that answers before the run has a model of its own, where its classes are the run's.
        hosts: names besides its address under which the server is reached.
    """

    app_dir: Path
    studies: str
    bundle_root: Path
    config_files: tuple[Path, ...]
    overrides: Mapping[str, str]
    lease_seconds: float = 1800.0
    ckpt: Path | None = None
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, app_dir: Path, studies: str, conf: Mapping[str, str]) -> Settings:
        """Return the settings of ``monailabel start_server --app app_dir --studies studies --conf ...``.

        Args:
            app_dir: this app.
            studies: data folder or table (docs/data.md).
            conf: :data:`OWN` keys, :data:`SHORT` names, and ids of the config with their values.

        Raises:
            InputError: lists what cannot be used.
        """
        problems = [
            Problem("set by the server", f"--conf {key}", "another key", conf[key]) for key in FIXED if key in conf
        ]
        if "://" in studies:
            problems.append(Problem("not a data folder", "--studies", "a folder with images and a table", studies))
        root = app_dir.parent
        files = tuple(_config_file(root, name.strip()) for name in conf.get("config", "train.json").split(","))
        problems += [
            Problem("no such config", "--conf config", "files, separated by commas", str(path))
            for path in files
            if not path.is_file()
        ]
        lease = _seconds(conf.get("lease_seconds", "1800"), problems)
        if problems:
            raise InputError(problems)
        given = {SHORT.get(key, key): str(value) for key, value in conf.items() if key not in OWN}
        given["output_dir"] = as_kept(str(Path(given.get("output_dir", OUTPUT_DIR)).expanduser().absolute()))
        places = {"bundle_root": as_kept(str(root)), "dataset_dir": as_kept(str(Path(studies).absolute()))}
        overrides = {**places, "oracle": "desk", **given}
        released = str(root / "models" / "model.pt")
        named = conf.get("ckpt", released)
        ckpt = None if named == "none" else Path(named).expanduser().absolute()
        if ckpt is not None and "ckpt" in conf and not ckpt.is_file():
            raise InputError(Problem("no such model file", "--conf ckpt", "a model file, or none", str(ckpt)))
        hosts = tuple(name.strip() for name in conf.get("hosts", "").split(",") if name.strip())
        return cls(app_dir, studies, root, files, overrides, lease, ckpt, hosts)

    def content(self) -> dict[str, Any]:
        """Return the config of the run, as ``python -m monai.bundle run`` reads it from :meth:`command`.

        Raises:
            InputError: a file cannot be read, or an id cannot be set.
        """
        try:
            parser = ConfigParser(ConfigParser.load_config_files([str(path) for path in self.config_files]))
            for key, text in self.overrides.items():
                parser[key] = DefaultParseValue(text)
            parser.resolve_macro_and_relative_ids()
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(
                Problem("config cannot be used", "--conf", found=f"{type(error).__name__}: {error}")
            ) from error
        return dict(parser.get())

    def command(self) -> list[str]:
        """Return the words of the command that does the next round of the run."""
        files = "[" + ",".join(repr(str(path)) for path in self.config_files) + "]"
        words = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", files]
        return words + [f"--{key}={text}" for key, text in self.overrides.items()]


def _config_file(root: Path, name: str) -> Path:
    """Return a config by its path, or by its name in ``configs``."""
    path = Path(name).expanduser()
    return path.absolute() if path.is_file() else root / "configs" / path


def _seconds(text: str, problems: list[Problem]) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= 7 * 86_400.0:
        problems.append(Problem("not a time", "--conf lease_seconds", "seconds, above 0, at most a week", text))
    return seconds
