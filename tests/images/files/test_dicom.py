"""DICOM of one frame, against values worked out by hand and against pydicom's own window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.masks import MaskRule, read_mask
from scripts.images.reading import highest_value, image_size, read_image
from tests.support.dicom_files import dicom
from tests.support.image_files import RGB, fault, problem_of

pydicom = pytest.importorskip("pydicom")
HU = np.array([[-1000, -160, 40, 239, 1000], [0, 1, 2, 3, 4]], np.int16)


def grey(path: Path, bits: int = 16) -> np.ndarray:
    image = read_image(path, bits)
    assert image.dtype == np.uint8 and (image == image[..., :1]).all()
    return image[..., 0]


class TestGrey:
    def test_eight_bits_are_kept(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "a.dcm", RGB[..., 0])
        assert np.array_equal(grey(path), RGB[..., 0])
        assert image_size(path) == (5, 7)
        assert highest_value(path) is None

    @pytest.mark.parametrize(("stored", "white"), [(10, 1023), (12, 4095), (14, 16383)])
    def test_the_file_says_how_many_bits_count(self, tmp_path: Path, stored: int, white: int) -> None:
        values = np.array([[0, white // 2, white]], np.uint16)
        path = dicom(tmp_path / "a.dcm", values, BitsStored=stored, HighBit=stored - 1)
        assert grey(path).tolist() == [[0, 127, 255]]
        assert highest_value(path) is None

    def test_sixteen_bits_count_as_those_of_the_data_set(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "a.dcm", np.array([[0, 2048, 4095]], np.uint16))
        assert highest_value(path) == 4095
        assert grey(path).tolist() == [[0, 8, 15]]
        assert grey(path, 12).tolist() == [[0, 128, 255]]
        with pytest.raises(InputError, match="image is brighter than white"):
            read_image(path, 10)

    def test_without_a_window_rescaled_values_are_stretched(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "a.dcm", np.array([[0, 50, 100]], np.uint16), RescaleSlope=2, RescaleIntercept=-1024)
        assert grey(path).tolist() == [[0, 128, 255]]
        assert highest_value(path) is None

    def test_monochrome1_is_inverted(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "a.dcm", RGB[..., 0], PhotometricInterpretation="MONOCHROME1")
        assert np.array_equal(grey(path), 255 - RGB[..., 0])


class TestWindows:
    @pytest.mark.parametrize("form", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
    def test_as_pydicom_shows_them(self, tmp_path: Path, form: str) -> None:
        told = {"RescaleSlope": 1, "RescaleIntercept": -24, "WindowCenter": 40, "WindowWidth": 400}
        path = dicom(tmp_path / "a.dcm", HU, VOILUTFunction=form, **told)
        found = pydicom.dcmread(path)
        shown = pydicom.pixels.apply_windowing(pydicom.pixels.apply_rescale(found.pixel_array, found), found)
        low, high = -32768 - 24, 32767 - 24
        assert np.abs(grey(path) - (shown - low) / (high - low) * 255).max() <= 0.5 + 1e-6

    def test_the_first_of_several_counts(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "a.dcm", HU, WindowCenter=[40, -600], WindowWidth=[400, 1500])
        assert grey(path)[0].tolist() == [0, 0, 128, 255, 255]

    def test_a_table_of_values(self, tmp_path: Path) -> None:
        table = pydicom.Dataset()
        table.LUTDescriptor = [4, 0, 12]
        table.add_new("LUTData", "US", [0, 4095, 2048, 1])
        path = dicom(tmp_path / "a.dcm", np.array([[0, 1, 2, 3, 9]], np.uint16), VOILUTSequence=[table])
        assert grey(path).tolist() == [[0, 255, 128, 0, 0]]

    @pytest.mark.parametrize("width", [0, -5])
    def test_without_a_width_are_refused(self, tmp_path: Path, width: int) -> None:
        path = dicom(tmp_path / "a.dcm", HU, WindowCenter=40, WindowWidth=width)
        assert fault(path) == "window cannot be used"


class TestColour:
    def test_rgb(self, tmp_path: Path) -> None:
        assert np.array_equal(read_image(dicom(tmp_path / "a.dcm", RGB)), RGB)

    def test_ybr(self, tmp_path: Path) -> None:
        ybr = pydicom.pixels.convert_color_space(RGB, "RGB", "YBR_FULL")
        path = dicom(tmp_path / "a.dcm", ybr, PhotometricInterpretation="YBR_FULL")
        assert np.abs(read_image(path).astype(int) - RGB).max() <= 2

    def test_palette(self, tmp_path: Path) -> None:
        told: dict[str, Any] = {}
        for name, levels in {"Red": [10, 200], "Green": [20, 100], "Blue": [30, 50]}.items():
            told[f"{name}PaletteColorLookupTableData"] = (np.array(levels, np.uint16) * 257).tobytes()
            told[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        told["PhotometricInterpretation"] = "PALETTE COLOR"
        path = dicom(tmp_path / "a.dcm", np.array([[0, 1]], np.uint8), **told)
        assert read_image(path).tolist() == [[[10, 20, 30], [200, 100, 50]]]


class TestRefused:
    def test_frames(self, tmp_path: Path) -> None:
        problem = problem_of(dicom(tmp_path / "a.dcm", np.zeros((3, 4, 5), np.uint8), NumberOfFrames=3))
        assert (problem.what, problem.found) == ("multi-frame DICOM file", "3 frames")
        assert "DICOM file of one frame" in problem.cure

    @pytest.mark.parametrize(
        ("syntax", "name"),
        [("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless"), ("1.2.840.10008.1.2.1.99", "Deflated Explicit VR"),
         ("1.2.840.10008.1.2.4.102", "MPEG-4")],
    )  # fmt: skip
    def test_what_nothing_here_unpacks(self, tmp_path: Path, syntax: str, name: str) -> None:
        data = pydicom.dcmread(dicom(tmp_path / "a.dcm", RGB))
        data.file_meta.TransferSyntaxUID = syntax
        if not syntax.endswith("99"):
            data.PixelData = pydicom.encaps.encapsulate([b"\0" * 20])
            data["PixelData"].is_undefined_length = True
        pydicom.dcmwrite(tmp_path / "a.dcm", data)
        problem = problem_of(tmp_path / "a.dcm")
        assert problem.what == "compressed in a form that cannot be decoded"
        assert name in problem.found and "gdcmconv --raw" in problem.cure
        with pytest.raises(InputError, match="compressed in a form"):
            read_image(tmp_path / "a.dcm", content=(tmp_path / "a.dcm").read_bytes())

    def test_other_content(self, tmp_path: Path) -> None:
        (tmp_path / "text.dcm").write_bytes(b"no DICOM" * 100)
        assert fault(tmp_path / "text.dcm") == "the content is no image that can be read"
        whole = dicom(tmp_path / "a.dcm", np.zeros((40, 40), np.uint16)).read_bytes()
        (tmp_path / "cut.dcm").write_bytes(whole[:-1000])
        assert fault(tmp_path / "cut.dcm") == "cannot be decoded"
        data = pydicom.dcmread(tmp_path / "a.dcm")
        for name in ("Rows", "Columns", "PixelData"):
            delattr(data, name)
        data.save_as(tmp_path / "report.dcm")
        assert fault(tmp_path / "report.dcm") == "no image in the DICOM file"

    def test_too_many_pixels(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = dicom(tmp_path / "a.dcm", RGB)
        monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 17)
        assert fault(path) == "too many pixels to be decoded safely"

    def test_without_the_package_it_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = dicom(tmp_path / "a.dcm", RGB)

        def missing(_: str) -> Any:
            raise ModuleNotFoundError("No module named 'pydicom'")

        monkeypatch.setattr("importlib.import_module", missing)
        with pytest.raises(InputError, match=r"pydicom: package is missing.*pip install -r requirements-dicom.txt"):
            read_image(path)


def test_masks_are_the_stored_numbers(tmp_path: Path) -> None:
    values = np.zeros((5, 7), np.uint8)
    values[1:3, 1:4] = 1
    path = dicom(tmp_path / "m.dcm", values, PhotometricInterpretation="MONOCHROME1", WindowCenter=0, WindowWidth=1)
    assert np.array_equal(read_mask(path), values)
    assert np.array_equal(read_mask(path, content=path.read_bytes()), values)
    lossy = dicom(tmp_path / "l.dcm", values, LossyImageCompression="01")
    with pytest.raises(InputError, match="no exact values"):
        read_mask(lossy)
    assert np.array_equal(read_mask(lossy, MaskRule("over:0.5")), values)
