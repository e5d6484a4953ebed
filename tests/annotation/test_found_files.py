"""Names that can be read back, and what lies in a folder that people put masks into."""

from __future__ import annotations

import os
import socket
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.annotation.found_files import found_files, key_of, read_reason
from scripts.core.errors import Problem, StateError
from scripts.core.files import file_stem


class TestNames:
    @given(st.text(min_size=1, max_size=30))
    def test_every_id_comes_back(self, key: str) -> None:
        stem = file_stem(key)
        assert not set(stem) & set('<>:"/\\|?*')
        assert stem[0] != "."
        assert stem[-1] not in ". "
        for suffix in (".png", ".nii.gz", ".geojson", ".skip", ".PNG"):
            assert key_of(stem + suffix) == key

    def test_usual_names_stay_readable(self) -> None:
        assert file_stem("train_1 (2)") == "train_1 (2)"
        assert file_stem("Präparat 7") == "Präparat 7"
        assert file_stem("p1/a") == "p1%2Fa"


def found(folder: Path) -> tuple[list[tuple[str, str, str]], list[Problem]]:
    problems: list[Problem] = []
    files = [(f.origin, f.key, f.user) for f in found_files(folder, problems)]
    return files, problems


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


class TestFound:
    def test_files_by_name_with_their_annotators(self, tmp_path: Path) -> None:
        for name in ("b.png", "a.nii.gz", "anna/a.png", "._b.png", ".hidden/x.png", "p1%2Fx.skip"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        files, problems = found(tmp_path)
        assert files == [("a.nii.gz", "a", ""), ("anna/a.png", "a", "anna"), ("b.png", "b", ""),
                         ("p1%2Fx.skip", "p1/x", "")]  # fmt: skip
        assert problems == []

    def test_no_folder(self, tmp_path: Path) -> None:
        assert found(tmp_path / "none") == ([], [])

    def test_archives_are_opened_one_file_after_the_other(self, tmp_path: Path) -> None:
        archive(tmp_path / "m.zip", **{"b.png": b"B", "a.png": b"A", "c.skip": b"blurred"})
        contents = []
        paths = []
        for file in found_files(tmp_path, []):
            contents.append((file.origin, file.path.read_bytes(), file.is_skip))
            paths.append(file.path)
        assert contents == [("m.zip/a.png", b"A", False), ("m.zip/b.png", b"B", False),
                            ("m.zip/c.skip", b"blurred", True)]  # fmt: skip
        assert not any(path.exists() for path in paths)

    @pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/b.png", "..\\evil.png", "C:evil.png", ".x.png",
                                      "a" * 300 + ".png", "a\nb.png"])  # fmt: skip
    def test_members_cannot_leave(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "inbox").mkdir()
        archive(tmp_path / "inbox" / "m.zip", **{"good.png": b"G", name: b"E"})
        files, problems = found(tmp_path / "inbox")
        assert files == []
        assert "m.zip: archive holds more than plain files" in str(problems[0])
        assert [path.name for path in tmp_path.rglob("*")] == ["inbox", "m.zip"]

    def test_bombs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive(tmp_path / "m.zip", **{"a.png": b"0" * 100, "b.png": b"0" * 100})
        monkeypatch.setattr("scripts.annotation.found_files._MEMBER_BYTES", 99)
        assert "file in an archive is too large" in str(found(tmp_path)[1][0])
        monkeypatch.undo()
        monkeypatch.setattr("scripts.annotation.found_files._ARCHIVE_BYTES", 199)
        assert "archive is too large" in str(found(tmp_path)[1][0])

    def test_a_file_that_unpacks_to_more_than_its_archive_says(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "m.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.png", bytes(2**26))
        said = struct.pack("<I", 10)
        path.write_bytes(path.read_bytes().replace(struct.pack("<I", 2**26), said))
        tracemalloc.start()
        try:
            files, problems = found(tmp_path)
            assert tracemalloc.get_traced_memory()[1] < 2**22
        finally:
            tracemalloc.stop()
        assert files == []
        assert "m.zip: archive cannot be read" in str(problems[0])

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_what_cannot_be_unpacked_piece_by_piece(self, tmp_path: Path, method: int) -> None:
        with zipfile.ZipFile(tmp_path / "m.zip", "w", method) as file:
            file.writestr("a.png", b"A")
        files, problems = found(tmp_path)
        assert files == []
        assert "m.zip: archive is packed in a way that cannot be read" in str(problems[0])

    def test_a_directory_of_very_many_names_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive(tmp_path / "m.zip", **{f"{number}.png": b"" for number in range(3)})
        monkeypatch.setattr("scripts.annotation.found_files._DIRECTORY_BYTES", 100)
        monkeypatch.setattr(zipfile, "ZipFile", None)
        assert "m.zip: archive is too large" in str(found(tmp_path)[1][0])

    def test_only_the_first_of_many_bad_names_are_named(self, tmp_path: Path) -> None:
        archive(tmp_path / "m.zip", **{f"a/{number}.png": b"" for number in range(100)})
        assert len(found(tmp_path)[1]) == 20

    @pytest.mark.parametrize("folders", [(), ("a/", "b/")])
    def test_an_archive_without_files_is_told(self, tmp_path: Path, folders: tuple[str, ...]) -> None:
        archive(tmp_path / "m.zip", **dict.fromkeys(folders, b""))
        assert [problem.what for problem in found(tmp_path)[1]] == ["archive is empty"]

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_a_file_that_an_archive_holds_twice_is_none(self, tmp_path: Path) -> None:
        """Both were taken, and the one that happened to lie behind counted."""
        with zipfile.ZipFile(tmp_path / "m.zip", "w") as file:
            for content in (b"one", b"two"):
                file.writestr("train_03.png", content)
        files, problems = found(tmp_path)
        assert files == []
        assert str(problems[0]) == "m.zip: archive holds a file twice; expected each name once; found 'train_03.png'"

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\0" * 200])
    def test_broken_archives(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "m.zip").write_bytes(content)
        files, problems = found(tmp_path)
        assert files == []
        assert "m.zip: archive cannot be read" in str(problems[0])

    def test_damaged_member(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "m.zip", **{"a.png": b"A" * 50})
        path.write_bytes(path.read_bytes().replace(b"A" * 50, b"A" * 49 + b"B"))
        assert "archive cannot be read" in str(found(tmp_path)[1][0])

    def test_links_that_lead_out(self, tmp_path: Path) -> None:
        (tmp_path / "secret.png").write_bytes(b"x")
        (tmp_path / "inbox").mkdir()
        (tmp_path / "inbox" / "a.png").symlink_to(tmp_path / "secret.png")
        files, problems = found(tmp_path / "inbox")
        assert files == []
        assert "link leads out of the folder" in str(problems[0])

    def test_a_link_to_itself_and_one_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").symlink_to(tmp_path / "a.png")
        (tmp_path / "b.png").symlink_to(tmp_path / "none.png")
        (tmp_path / "c.zip").symlink_to(tmp_path / "c.zip")
        files, problems = found(tmp_path)
        assert files == []
        assert [(p.what, p.where) for p in problems] == [
            ("file cannot be read", n) for n in ("a.png", "b.png", "c.zip")
        ]

    def test_a_link_to_a_folder_is_not_followed_in_silence(self, tmp_path: Path) -> None:
        (tmp_path / "inbox" / "anna").mkdir(parents=True)
        (tmp_path / "inbox" / "ben").symlink_to(tmp_path / "inbox" / "anna")
        files, problems = found(tmp_path / "inbox")
        assert files == []
        assert "ben: not a plain file; expected a file; found a folder" in str(problems[0])

    @pytest.mark.parametrize("name", ["a.png", "a.zip", "a.skip", "a.geojson"])
    def test_a_pipe_is_a_problem_and_not_waited_for(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / name)
        files, problems = found(tmp_path)
        assert files == []
        assert f"{name}: not a plain file; expected a file; found a named pipe. Take it away." in str(problems[0])

    def test_a_socket(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("a.png")
            assert "found a socket" in str(found(tmp_path)[1][0])

    def test_a_name_that_is_no_text(self, tmp_path: Path) -> None:
        with open(os.fsencode(tmp_path) + b"/a\xff.png", "wb") as file:
            file.write(b"x")
        files, problems = found(tmp_path)
        assert files == []
        assert "name cannot be used" in str(problems[0])
        assert str(problems[0]).encode()

    def test_no_room_to_unpack_is_no_fault_of_the_archive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive(tmp_path / "m.zip", **{"a.png": b"A"})
        monkeypatch.setenv("TMPDIR", "/dev/full")
        monkeypatch.setattr("tempfile.TemporaryDirectory", raising(OSError(28, "No space left on device")))
        with pytest.raises(StateError, match=r"no temporary folder can be made.*TMPDIR"):
            found(tmp_path)


def raising(error: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    return fail


def test_reason(tmp_path: Path) -> None:
    (tmp_path / "a.skip").write_bytes("außer Fokus\n\x00".encode() + b"\xff" + b"x" * 3000)
    assert read_reason(tmp_path / "a.skip").startswith("außer Fokus")
    assert len(read_reason(tmp_path / "a.skip")) <= 500
