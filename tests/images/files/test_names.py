from __future__ import annotations

from scripts.images.files.names import image_stem, is_image_file


def test_names_of_images() -> None:
    accepted = ["a.png", "x/B.JPG", "a.nii.gz", "a.b.tiff", "a.bmp", "a.webp", "a.JFIF", "a.gif"]
    assert all(is_image_file(name) for name in accepted)
    assert not any(is_image_file(name) for name in ["._a.png", ".a.png", "x/._a.bmp", "a.csv", "png", "a.heic", "a.gz"])
    assert [image_stem(name) for name in accepted] == ["a", "B", "a", "a.b", "a", "a", "a", "a"]
