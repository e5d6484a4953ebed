from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.core.command_line import run
from scripts.core.errors import InputError
from scripts.networks.model_file import read_model
from scripts.release.__main__ import COMMANDS
from scripts.release.package import ROOT, contents, folder_name, package, zipped
from tests.conftest import SHARED
from tests.support.tiny_runs import SMALL, words_of

CHECKS = (
    "files", "version", "requirements", "large_files", "metadata", "network", "export", "load", "train_properties",
    "inference_properties",
)  # fmt: skip
NO_NETWORK = """
import socket


def refuse(*_, **__):
    raise OSError("a test that needs no network asked for it")


socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    """A repository with a few files, as :func:`contents` sees one; it would not pass the checks."""
    root = tmp_path / "repository"
    for name, text in {
        "bundle/configs/metadata.json": "{}", "bundle/large_files.yml": '{"large_files": []}', "bundle/LICENSE": "text",
        "bundle/label_app/main.py": "1", "bundle/label_app/lib/tasks.py": "1", "bundle/label_app/logs/server.log": "1",
        "bundle/label_app/model/old.pt": "1", "scripts/a.py": "1", "scripts/annotation/web/view.html": "1",
        "scripts/__pycache__/a.pyc": "1", "scripts/.hidden": "1", "scripts/a.py~": "1", "docs/README.md": "1",
        "models/model.pt": "1", "models/model.json": "1", "models/model.ts": "1", "requirements.txt": "",
        "requirements-dev.txt": "", "requirements-slide.txt": "", "tests/test_a.py": "1",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("scripts", "docs", "models"):
        (root / "bundle" / name).symlink_to(f"../{name}")
    return root


class TestContents:
    def test_links_are_followed_and_rubbish_is_left_out(self, small_root: Path) -> None:
        assert list(contents(small_root)) == [
            "LICENSE", "configs/metadata.json", "docs/README.md", "label_app/lib/tasks.py", "label_app/main.py",
            "large_files.yml", "models/model.json", "models/model.pt", "requirements-slide.txt", "requirements.txt",
            "scripts/a.py", "scripts/annotation/web/view.html",
        ]  # fmt: skip

    def test_an_unpacked_package_has_the_same(self, small_root: Path, tmp_path: Path) -> None:
        found = contents(small_root)
        for name, data in found.items():
            (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "unpacked" / name).write_bytes(data)
        assert contents(tmp_path / "unpacked") == found

    def test_links_out_of_the_repository_are_refused(self, small_root: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("1")
        (small_root / "docs" / "secret.md").symlink_to(tmp_path / "secret")
        with pytest.raises(InputError, match=r"docs/secret.md: link leads out of the bundle"):
            contents(small_root)

    def test_what_is_listed_as_large_is_fetched_later(self, small_root: Path) -> None:
        listed = {"large_files": [{"path": "models/model.pt", "url": "x", "hash_type": "sha256", "hash_val": "y"}]}
        (small_root / "bundle" / "large_files.yml").write_text(json.dumps(listed))
        assert "models/model.pt" not in contents(small_root)


class TestZip:
    def test_bytes_depend_on_the_content_alone(self) -> None:
        content = {"b/c.txt": b"1", "a.txt": b"2"}
        data = zipped(content, "name")
        assert data == zipped(dict(reversed(content.items())), "name") != zipped(content, "other")

    @pytest.mark.parametrize(("shown", "folder"), [("Two words-1", "two_words_1"), (" A: b ", "a_b")])
    def test_folder_name(self, shown: str, folder: str) -> None:
        assert folder_name(shown) == folder

    def test_name_is_the_projects(self) -> None:
        shown = json.loads((ROOT / "bundle" / "configs" / "metadata.json").read_text())["name"]
        assert f'name = "{folder_name(shown).replace("_", "-")}"' in (ROOT / "pyproject.toml").read_text()

    def test_problems_end_the_command_and_nothing_is_written(
        self, small_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            run("release", COMMANDS, ["package", "--out", str(tmp_path / "dist"), "--root", str(small_root)])
        assert caught.value.code == 2
        assert "file is missing (" in caplog.text and "models/model.pt: not a checkpoint" in caplog.text
        assert not (tmp_path / "dist").exists()


# ---- the package, unpacked, without the repository ----------------------------------------------------------------


class Unpacked:
    """The package of this repository in a temporary folder, and a process that knows nothing else of the project."""

    def __init__(self, folder: Path) -> None:
        self.archive = package(str(folder / "dist"))
        with zipfile.ZipFile(self.archive) as archive:
            archive.extractall(folder / "unpacked")
        (self.root,) = (folder / "unpacked").iterdir()
        self.elsewhere = folder / "elsewhere"
        (self.elsewhere / "no_network").mkdir(parents=True)
        (self.elsewhere / "no_network" / "sitecustomize.py").write_text(NO_NETWORK)

    def config(self, name: str) -> str:
        return str(self.root / "configs" / name)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in a folder that is neither the package nor the repository, without a network."""
        environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.elsewhere / "no_network"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.elsewhere, env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done

    def bundle_run(self, run_id: str, config: str, *arguments: str) -> str:
        root = ("--bundle_root", str(self.root))
        return self.python("-m", "monai.bundle", "run", run_id, "--config_file", config, *root, *arguments).stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    return Unpacked(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def trained(unpacked: Unpacked, shapes_folder: Path) -> Path:
    """The folder of a run of one tiny round."""
    out = unpacked.elsewhere / "runs"
    small = {**SMALL, "active#rounds": 1, "dataset_dir": str(shapes_folder), "output_dir": str(out)}
    unpacked.bundle_run("training", unpacked.config("train.json"), *words_of(small))
    return out


@pytest.fixture(scope="module")
def checked(unpacked: Unpacked, shapes_folder: Path) -> dict[str, str | None]:
    """Check -> what it failed with."""
    schema = SHARED / "reference" / "meta_schema_20240725.json"
    arguments = [str(unpacked.root), str(shapes_folder), str(unpacked.elsewhere)]
    arguments += [str(schema)] if schema.is_file() else []
    probe = Path(__file__).parents[1] / "support" / "zoo_checks.py"
    found: dict[str, str | None] = json.loads(unpacked.python(str(probe), *arguments).stdout.splitlines()[-1])
    return found


@pytest.mark.slow
class TestUnpacked:
    def test_one_folder_of_plain_files(self, unpacked: Unpacked) -> None:
        assert unpacked.archive.name == f"{unpacked.root.name}_v{self.version(unpacked)}.zip"
        assert {path.name for path in unpacked.root.iterdir()} >= {"configs", "models", "docs", "scripts", "LICENSE"}
        assert package(str(unpacked.elsewhere / "again")).read_bytes() == unpacked.archive.read_bytes()

    def version(self, unpacked: Unpacked) -> str:
        return str(json.loads((unpacked.root / "configs" / "metadata.json").read_text())["version"])

    def test_model_is_there_in_both_forms(self, unpacked: Unpacked) -> None:
        (weights, info), (same, described) = (
            read_model(unpacked.root / "models" / name) for name in ("model.pt", "model.safetensors")
        )
        assert info == described and weights.keys() == same.keys()
        assert all((value == same[name]).all() for name, value in weights.items())

    @pytest.mark.parametrize("check", CHECKS)
    def test_checks_of_monai_and_its_zoo(self, check: str, checked: dict[str, str | None], unpacked: Unpacked) -> None:
        assert set(checked) == set(CHECKS)
        if check == "inference_properties" and not Path(unpacked.config("inference.json")).is_file():
            pytest.skip("the bundle has no inference.json")
        if check == "metadata" and not SHARED.is_dir():
            pytest.skip("../shared is absent: MONAI's schema is not part of the repository")
        assert checked[check] is None, checked[check]

    def test_training(self, trained: Path) -> None:
        assert (trained / "report.html").is_file()
        assert (trained / "label_prop_seed0" / "curve.csv").is_file()

    def test_evaluation(self, trained: Path, unpacked: Unpacked, shapes_folder: Path) -> None:
        configs = str([unpacked.config("train.json"), unpacked.config("evaluate.json")])
        small = {**SMALL, "dataset_dir": shapes_folder, "output_dir": trained, "evaluate#resamples": 20}
        unpacked.bundle_run("evaluate", configs, *words_of(small, "evaluate", "train.json", "evaluate.json"))
        summary = json.loads((trained / "evaluation" / "summary.json").read_text())
        assert summary["model"]["provenance"]["method"] == "label_prop"

    def test_prediction(self, unpacked: Unpacked, shapes_folder: Path) -> None:
        if not Path(unpacked.config("inference.json")).is_file():
            pytest.skip("the bundle has no inference.json")
        images, out = unpacked.elsewhere / "images", unpacked.elsewhere / "predictions"
        images.mkdir()
        for name in ("test_00.png", "test_01.png"):
            shutil.copyfile(shapes_folder / name, images / name)
        places = ("--dataset_dir", str(images), "--output_dir", str(out))
        unpacked.bundle_run("run", unpacked.config("inference.json"), *places)
        with open(out / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 2 and {row["class"] for row in rows} <= {"benign", "malignant"}
