from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.masks import read_mask
from scripts.images.reading import read_image
from scripts.networks.outputs import Prediction
from scripts.prediction.listing import list_images
from scripts.prediction.results import nifti_bytes, probability_png, remove_results, result_paths, write_results
from tests.support.colour_net import INFO

AFFINE = np.array([[0, -0.5, 0, 7], [0.25, 0, 0, -3], [0, 0, 2, 1], [0, 0, 0, 1]], float)


def found_of(size: tuple[int, int]) -> tuple[Prediction, np.ndarray]:
    rng = np.random.default_rng(0)
    probs = rng.random(size, dtype=np.float32)
    maps = torch.from_numpy(rng.normal(size=(2, 2, 3)).astype(np.float32))
    return Prediction("a", probs, np.array([0.0, 2.0], np.float32), maps, size), (probs >= 0.5).astype(np.uint8)


def written(folder: Path, source: Path, **changes: Any) -> dict[str, Path]:
    (image,) = list_images(source)
    size = read_image(source).shape[:2]
    found, mask = found_of((size[0], size[1]))
    write_results(folder, image, found, mask, np.zeros((8, 8, 3), np.uint8), replace(INFO, **changes))
    return result_paths(folder, image)


class TestPictures:
    def test_files(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((20, 31, 3), np.uint8)).save(tmp_path / "a.jpg")
        paths = written(tmp_path / "out", tmp_path / "a.jpg")
        found, mask = found_of((20, 31))
        assert all(path.is_file() and path.name == "a.png" for path in paths.values())
        picture = np.asarray(Image.open(paths["masks"]))
        assert np.array_equal(picture, mask * 255) and picture.dtype == np.uint8
        assert np.array_equal(read_mask(paths["masks"]), mask)
        probs = np.asarray(Image.open(paths["probabilities"]))
        assert np.abs(probs / 255 - found.probs).max() <= 0.5 / 255 + 1e-6
        assert np.asarray(Image.open(paths["cams"])).shape == (20, 31, 3)
        assert Image.open(paths["overlays"]).size[0] > 4 * 400

    def test_sixteen_bits(self, tmp_path: Path) -> None:
        probs = np.array([[0.0, 1.0, 0.5], [0.1, 0.25, 0.999]], np.float32)
        (tmp_path / "p.png").write_bytes(probability_png(probs, 16))
        with Image.open(tmp_path / "p.png") as picture:
            assert picture.mode.startswith("I;16")
            assert np.abs(np.asarray(picture) / 65535 - probs).max() < 1e-5
        with pytest.raises(InputError, match="depth"):
            probability_png(probs, 12)

    def test_heat_map_is_bright_where_the_class_map_is_high(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
        colours = np.asarray(Image.open(written(tmp_path / "out", tmp_path / "a.png")["cams"])).astype(int)
        maps = found_of((20, 30))[0].class_maps[1]  # of the higher score
        corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]  # of the map and of the picture, which are aligned
        assert max(corners, key=lambda at: colours[at].sum()) == max(corners, key=lambda at: float(maps[at]))

    def test_masks_of_the_classifier_have_no_probabilities(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
        before = written(tmp_path / "out", tmp_path / "a.png")
        assert before["probabilities"].is_file()
        after = written(tmp_path / "out", tmp_path / "a.png", mask_from="cam")
        assert not after["probabilities"].exists()
        assert after["overlays"].is_file() and after["masks"].is_file()

    def test_results_can_be_removed(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
        paths = written(tmp_path / "out", tmp_path / "a.png")
        remove_results(tmp_path / "out", list_images(tmp_path / "a.png")[0])
        assert not any(path.exists() for path in paths.values())


class TestNifti:
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("shape", [(30, 20), (30, 20, 1), (30, 20, 3), (30, 20, 1, 3)])
    def test_geometry_is_that_of_the_input(self, shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
        source = nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8), AFFINE)
        source.header.set_xyzt_units("mm")
        source.set_qform(AFFINE, code=2)
        source.set_sform(AFFINE, code=4)
        nibabel.save(source, tmp_path / f"a{suffix}")
        paths = written(tmp_path / "out", tmp_path / f"a{suffix}")
        found, mask = found_of((20, 30))
        expected = {"masks": mask, "probabilities": found.probs, "cams": found.cam(1)}
        for name, values in expected.items():
            image: Any = nibabel.load(paths[name])
            assert paths[name].name == f"a{suffix}"
            assert image.shape == ((30, 20, 1) if shape[2:3] == (1,) else (30, 20))
            data = np.asanyarray(image.dataobj)
            assert data.dtype == values.dtype
            assert np.array_equal(data.reshape(30, 20), values.T)
            assert np.allclose(image.affine, source.affine, atol=1e-6)
            codes = [int(image.header[key]) for key in ("qform_code", "sform_code")]
            assert codes == [2, 4] and image.header.get_xyzt_units()[0] == "mm"
            assert np.allclose(image.header.get_zooms()[:2], source.header.get_zooms()[:2])
        assert paths["overlays"].suffix == ".png"

    def test_scaling_of_the_input_does_not_reach_the_result(self, tmp_path: Path) -> None:
        source = nibabel.Nifti1Image(np.arange(600, dtype=np.int16).reshape(30, 20), AFFINE)
        source.header.set_slope_inter(3.0, 10.0)
        nibabel.save(source, tmp_path / "a.nii")
        values = np.random.default_rng(1).random((20, 30), dtype=np.float32)
        (tmp_path / "b.nii").write_bytes(nifti_bytes(values, tmp_path / "a.nii"))
        again: Any = nibabel.load(tmp_path / "b.nii")
        assert np.array_equal(again.get_fdata(dtype=np.float32).T, values)

    def test_is_repeatable(self, tmp_path: Path) -> None:
        nibabel.save(nibabel.Nifti1Image(np.zeros((30, 20), np.uint8), AFFINE), tmp_path / "a.nii.gz")
        values = np.ones((20, 30), np.uint8)
        first, second = (nifti_bytes(values, tmp_path / "a.nii.gz") for _ in range(2))
        assert first == second and gzip.decompress(first)[344:348] == b"n+1\0"
