"""What the server of ``bundle/label_app`` makes of its options, and which model answers. No server is started."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.core.errors import InputError, StateError, UserError
from scripts.networks.model_file import ModelInfo, write_model
from scripts.state.desk import Desk
from scripts.state.run_state import RunState
from tests.support.people import asking_run
from tests.support.tiny import tiny_net
from tests.support.tiny_runs import make_images, open_tiny

APP = Path(__file__).resolve().parents[2] / "bundle" / "label_app"


@pytest.fixture(scope="module")
def lib() -> Any:
    """The modules that need no MONAI Label."""
    sys.path.insert(0, str(APP))
    try:
        names = ("settings", "run", "answering", "refusals", "strategies")
        return SimpleNamespace(**{name: importlib.import_module(f"lib.{name}") for name in names})
    finally:
        sys.path.remove(str(APP))


def settings(lib: Any, studies: Path, conf: Mapping[str, Any]) -> Any:
    return lib.settings.Settings.of(APP, str(studies), {key: str(value) for key, value in conf.items()})


class TestSettings:
    def test_defaults(self, lib: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        found = settings(lib, tmp_path, {})
        assert found.config_files == (APP.parent / "configs" / "train.json",)
        assert found.overrides["output_dir"] == str(tmp_path / "runs" / "label")
        assert (found.overrides["oracle"], found.lease_seconds) == ("desk", 1800.0)
        assert found.ckpt == APP.parent / "models" / "model.pt"

    def test_values_are_read_as_on_the_command_line_of_a_run(self, lib: Any, tmp_path: Path) -> None:
        conf = {"method": "random", "seed": 3, "image_size": "[64,96]", "active#budget": "$None", "lr": "1e-3"}
        found = settings(lib, tmp_path, {**conf, "config": "train.json,glas.json", "ckpt": "none"})
        content = lib.run.RunConfig(found.content())
        assert (content["active#method"], content["active#seed"], content["image_size"]) == ("random", 3, [64, 96])
        assert (content["lr"], content["data#split_column"]) == (0.001, "split_paper")
        assert found.ckpt is None
        command = found.command()
        assert command[1:5] == ["-m", "monai.bundle", "run", "training"]
        assert {"--active#method=random", "--oracle=desk", "--image_size=[64,96]"} <= set(command)

    @pytest.mark.parametrize(
        ("conf", "text"),
        [
            ({"oracle": "simulated"}, "--conf oracle: set by the server"),
            ({"config": "nothing.json"}, "--conf config: no such config"),
            ({"lease_seconds": "soon"}, "--conf lease_seconds: not a time"),
            ({"lease_seconds": 0}, "--conf lease_seconds: not a time"),
            ({"ckpt": "nothing.pt"}, "--conf ckpt: no such model file"),
            ({"oracle": "simulated", "lease_seconds": -1}, "2 problems"),
        ],
    )
    def test_refused(self, lib: Any, tmp_path: Path, conf: dict[str, Any], text: str) -> None:
        with pytest.raises(InputError, match=text):
            settings(lib, tmp_path, conf)

    def test_no_data_server(self, lib: Any) -> None:
        with pytest.raises(InputError, match="not a data folder"):
            settings(lib, Path("x"), {}).of(APP, "https://dicom.example", {})

    @pytest.mark.parametrize(
        ("conf", "text"),
        [
            ({"active#metod": "random"}, "active#metod: nothing in the config reads this id; expected active#method"),
            ({"method": "best"}, "--conf method: unknown method; expected bald, clasp_entropy, coreset"),
            ({"batch_size": 0}, "batch_size: value cannot be used"),
        ],
    )
    def test_values_that_make_no_run(self, lib: Any, tmp_path: Path, conf: dict[str, Any], text: str) -> None:
        with pytest.raises(InputError, match=text):
            lib.run.ServedRun(settings(lib, tmp_path, conf))


class TestRun:
    def test_bad_images_are_left_out_where_the_run_leaves_them_out(self, lib: Any, tmp_path: Path) -> None:
        studies = make_images(tmp_path / "studies")
        (studies / "train_03.png").write_bytes(b"no image")
        conf = {"output_dir": tmp_path / "runs", "on_bad_image": "skip", "image_size": "[64,64]"}
        run = lib.run.ServedRun(settings(lib, studies, conf))
        assert "train_03" not in run.train_ids
        assert len(run.train_ids) == 11

    def test_classes_without_foreground_are_those_of_the_run(self, lib: Any, tmp_path: Path) -> None:
        studies = make_images(tmp_path / "studies", normal={"train": 2})
        conf = {"output_dir": tmp_path / "runs", "num_classes": 3, "data#background_classes": "['n']"}
        data = open_tiny(studies, background_classes=["n"])
        run = lib.run.ServedRun(settings(lib, studies, conf))
        assert run.data.background == data.background
        assert run.train_ids == [item["id"] for item in data.drawable("train")]
        assert lib.run.ServedRun(settings(lib, studies, {**conf, "background_gate": False})).data.background.gated == ()
        with pytest.raises(InputError, match="data#background_classes: unknown class"):
            run = lib.run.ServedRun(settings(lib, studies, {**conf, "data#background_classes": "['normal']"}))
            assert run.data

    def test_the_run_of_another_data_set_is_not_served(self, lib: Any, tmp_path: Path) -> None:
        studies = make_images(tmp_path / "studies")
        asking_run(tmp_path / "runs" / "label_prop_seed0", open_tiny(studies))
        (studies / "train_05.png").write_bytes((studies / "train_06.png").read_bytes())
        run = lib.run.ServedRun(settings(lib, studies, {"output_dir": tmp_path / "runs"}))
        with pytest.raises(UserError, match="the run began with other data"):
            run.refuse_another()

    def test_a_run_that_went_away_is_no_new_one_and_another_in_its_place_is_noticed(
        self, lib: Any, tmp_path: Path
    ) -> None:
        studies = make_images(tmp_path / "studies")
        data = open_tiny(studies)
        folder = asking_run(tmp_path / "runs" / "label_prop_seed0", data)
        run = lib.run.ServedRun(settings(lib, studies, {"output_dir": tmp_path / "runs"}))
        assert run.situation().waiting == ("train_00", "train_01")
        folder.rename(tmp_path / "old")
        with pytest.raises(StateError, match="the folder of the run is gone"):
            run.situation()
        asking_run(folder, data, ("train_07",))
        assert run.situation().waiting == ("train_07",)

    def test_a_run_of_other_data_in_its_place_is_refused(self, lib: Any, tmp_path: Path) -> None:
        studies = make_images(tmp_path / "studies")
        folder = asking_run(tmp_path / "runs" / "label_prop_seed0", open_tiny(studies))
        run = lib.run.ServedRun(settings(lib, studies, {"output_dir": tmp_path / "runs"}))
        assert run.situation().kind == "draw"
        folder.rename(tmp_path / "old")
        asking_run(folder, open_tiny(make_images(tmp_path / "others", side=48)), ("train_01",))
        for _ in range(2):
            with pytest.raises(StateError, match="the run began with other data"):
                run.situation()

    def test_a_disk_of_images_that_is_gone_costs_one_lease(self, lib: Any, tmp_path: Path) -> None:
        """Each image was leased and given back in turn: 40 seconds of writes for 2000 of them."""
        studies = make_images(tmp_path / "studies", {"train": 130, "val": 4})
        data = open_tiny(studies)
        ids = [item["id"] for item in data.items("train")]
        asking_run(tmp_path / "runs" / "label_prop_seed0", data, tuple(ids))
        run = lib.run.ServedRun(settings(lib, studies, {"output_dir": tmp_path / "runs"}))
        assert len(run.train_ids) == 130
        studies.rename(tmp_path / "away")
        given_back: list[str] = []
        with Desk.open(run.folder) as desk:
            give_back = desk.give_back
            desk.give_back = lambda key, user: given_back.append(key) or give_back(key, user)  # type: ignore
            lease, passed_over = lib.strategies.hand_out(run, desk, "anna", ids)
        assert (lease, list(passed_over)) == (None, ids)
        assert len(given_back) == 1
        told = lib.strategies.QueueStrategy(run)("anna", "", False)
        assert "130 cannot be handed out" in told["message"]
        assert "and 120 more" in told["message"]
        assert len(told["passed_over"]) == 100


class TestAnswering:
    def test_round_then_file_then_stage_0(self, lib: Any, tmp_path: Path) -> None:
        """Only what is chosen is looked at; loading is tested over HTTP."""
        studies = make_images(tmp_path / "studies")
        folder = asking_run(tmp_path / "runs" / "label_prop_seed0", open_tiny(studies))
        info = ModelInfo(
            {"_target_": "scripts.networks.joint_net.JointNet", "num_classes": 2}, ("a", "b"), (64, 64), 0.5
        )
        write_model(tmp_path / "m.pt", dict(tiny_net(2).state_dict()), info)

        def chosen(ckpt: Path | str) -> Any:
            conf = {"output_dir": tmp_path / "runs", "ckpt": ckpt}
            return lib.answering.AnsweringModel(lib.run.ServedRun(settings(lib, studies, conf)))._chosen()[0]

        released = APP.parent / "models" / "model.pt"  # its classes are others
        for ckpt in ("none", released):
            with pytest.raises(lib.refusals.NotNowError, match="no model can answer yet"):
                chosen(ckpt)
        with RunState.open(folder) as state:
            state.commit(-1, "stage0", rng={"theta0": "a" * 64})
        assert chosen(tmp_path / "m.pt")[0] == str(tmp_path / "m.pt")
        assert chosen("none") == chosen(released) == (str(folder), -1)
        for at, value in ((0, 0.4), (1, 0.7), (2, 0.7), (3, 0.6)):
            with RunState.open(folder) as state:
                state.commit(at, "evaluate", metrics={"val_dice": value, "masks": 2.0})
            assert chosen(tmp_path / "m.pt") == (str(folder), {0: 0, 1: 1, 2: 2, 3: 2}[at])
