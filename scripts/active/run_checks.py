"""What makes a run of active learning impossible or odd, said before its first training step."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from scripts.active.methods import Method
from scripts.active.oracles import Oracle
from scripts.active.run_record import RunSettings, background_weight, training_overrides
from scripts.annotation.person_oracle import PersonOracle
from scripts.core.errors import InputError, Problem, listed
from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData
from scripts.state.reader import StateReader

logger = logging.getLogger(__name__)


def refuse_impossible(
    config: RunConfig, data: RunData, method: Method, oracle: Oracle | PersonOracle, settings: RunSettings
) -> None:
    """Refuse a run that could not end, or whose figures would mean nothing.

    Args:
        config: of the run.
        data: its images.
        method: its preset.
        oracle: who would draw.
        settings: its numbers, of which some must be 1 or more.

    Raises:
        InputError: with all of it: too small numbers, other classes than the network's, no image to validate on or
            no mask for the metric that selects, no training image that the oracle can answer for, an oracle that
            cannot be asked for parts of images; or a package that the method's chain or the oracle needs is missing.
    """
    counts = {name: getattr(settings, name) for name in ("rounds", "initial_per_class", "query_per_class")}
    problems = [Problem("too small", f"active#{name}", "1 or more", str(n)) for name, n in counts.items() if n < 1]
    outputs = config.get("num_classes", len(data.classes))
    if outputs != len(data.classes):
        found = f"{len(data.classes)} classes in the data: {listed(data.classes)}"
        cure = f"Add --num_classes {len(data.classes)} to the command, or to an overlay."
        problems.append(Problem("network and data differ in their classes", "num_classes", f"{outputs}", found, cure))
    problems += _size_problems(config, data)
    validation = data.items("val")
    if not validation:
        cure = "Name some in the table; they choose the weights of every training."
        problems.append(Problem("no validation image", "data", "one or more", "none", cure))
    elif config.get("selection") == "dice" and not any(item["mask"] for item in validation):
        cure = "Add masks of validation images, or --selection accuracy."
        problems.append(Problem("no validation image has a mask", "selection", "one or more for dice", "none", cure))
    elif data.background and config.get("selection") == "dice" and not _has_foreground(data, "val"):
        cure = "Add validation images that have something to draw, with their masks, or --selection accuracy."
        found = f"none of {len(validation)} validation images"
        what = "no validation image has a mask with foreground"
        problems.append(Problem(what, "selection", "one or more for dice", found, cure))
    if method.cycles > 0 and not _answerable(data, oracle):
        cure = "Add masks of training images to the table, or choose --active#method wsl, which needs none."
        found = f"none of {len(data.items('train'))}"
        problems.append(Problem("no training image to ask about", "data", "one with a mask or more", found, cure))
    if method.region is not None and not getattr(oracle, "takes_windows", False):
        cure = "Choose another oracle, or a method that asks for whole images."
        expected = "one that can be asked for parts of images"
        problems.append(Problem("oracle draws whole images only", "oracle", expected, settings.oracle, cure))
    if problems:
        raise InputError(problems)
    for part in (*method.chain, oracle):
        getattr(part, "require", lambda: None)()


def _size_problems(config: RunConfig, data: RunData) -> list[Problem]:
    """Name images of several sizes that would meet in a batch: nothing crops or resizes them before."""
    sizes = {data.store.working_size(item["id"]) for item in data.items("train")}
    parser = config.parser()
    if len(sizes) < 2 or parser.get_parsed_content("batch_size") == 1 or config.get("train#random_transforms"):
        return []
    if parser.get_parsed_content("geometry").training_transforms():
        return []
    told = listed([f"{height} x {width}" for height, width in sorted(sizes)], 3)
    cure = 'Add --image_size "[H,W]", to which all are resized, or --batch_size 1.'
    return [Problem("images of several sizes in one batch", "image_size", "one size", told, cure)]


def tell_oddities(data: RunData, method: Method, oracle: Oracle | PersonOracle, initial_per_class: int) -> None:
    """Log what a run can live with, and what it does then."""
    if not any(item["mask"] for item in data.items("test")) or (data.background and not _has_foreground(data, "test")):
        logger.warning("no test image has a mask%s: there will be no Dice, and the table of rounds stays empty",
                       " with foreground" if data.background else "")  # fmt: skip
    if method.cycles > 0:
        answerable = _answerable(data, oracle)
        without = [name for name in data.drawable_classes if not answerable[name]]
        if without:
            logger.warning("no training image of these classes can be asked about: %s", listed(without))
        short = [f"{name} ({answerable[name]})" for name in data.classes if 0 < answerable[name] < initial_per_class]
        if short and not method.label_all:
            text = "fewer images than initial_per_class %d, so the first round asks for all of them: %s"
            logger.warning(text, initial_per_class, listed(short))
    k = getattr(method.propagation, "k", None)
    sizes = Counter(data.classes[item["label"]] for item in data.drawable("train"))
    if k is not None and k >= max(sizes.values(), default=0):
        text = "k %d reaches beyond every class, the largest has %d images: with one mask drawn, all others pair"
        logger.info(text, k, max(sizes.values(), default=0))


def tell_of_empty_classes(config: RunConfig, data: RunData, method: Method) -> None:
    """Propose the switch for classes whose known masks are all empty, and warn where a classifier would forget one."""
    found = data.empty_classes()
    if found and len(found) < len(data.drawable_classes):
        switch = [*data.background_names, *found]
        text = "all masks on disk of these classes are empty: %s. If their images never have anything to draw, add %s"
        logger.warning(text, listed(found), f'--data#background_classes "{switch}"')
    trains = not training_overrides(config, method).get("freeze_classifier", config.get("freeze_classifier", True))
    if data.background and method.cycles > 0 and trains and background_weight(config, method) == 0:
        text = "the rounds train the classifier on no image of %s: give --scale_seg_b a weight, or it forgets them"
        logger.warning(text, listed(data.background_names))


def tell_other_precision(state: StateReader, now: Mapping[str, Any]) -> None:
    """Warn of a run that goes on in another precision than its last rounds were computed in."""
    before = state.settings().get("precision")
    if before is not None and before != now["precision"]:
        text = "the run computed in %s and goes on in %s, as this machine does; --amp False means float32 everywhere"
        logger.warning(text, before, now["precision"])


def _answerable(data: RunData, oracle: Oracle | PersonOracle) -> Counter[str]:
    """Return class -> number of training images that the oracle can answer for."""
    return Counter(data.classes[item["label"]] for item in data.drawable("train") if oracle.can_answer(item["id"]))


def _has_foreground(data: RunData, split: str) -> bool:
    """Tell whether the mask of any image of a split has foreground."""
    return any(item["id"] in data.shapes and data.shapes[item["id"]].has_foreground for item in data.drawable(split))
