"""What every file of results has: CSV that reads back, and versions."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import platform

import pytest

from scripts.core import result_files
from scripts.core.result_files import PACKAGES, csv_bytes, versions


class TestCsv:
    def test_reads_back(self) -> None:
        rows = [{"id": 'a,"b"\nc', "dice": 0.1 + 0.2, "hd95": None}, {"id": "ä", "dice": 1, "hd95": 2.5}]
        data = csv_bytes(rows)
        read = list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))
        assert [row["id"] for row in read] == [row["id"] for row in rows]
        assert float(read[0]["dice"]) == rows[0]["dice"]  # no digit is lost
        assert [row["hd95"] for row in read] == ["", "2.5"]
        assert b"\r" not in data

    def test_columns_of_a_table_without_rows(self) -> None:
        assert csv_bytes([], ("round", "masks")) == b"round,masks\n"
        assert csv_bytes([{"a": 1}], ("round", "masks")) == b"a\n1\n"

    def test_rows_have_the_same_columns(self) -> None:
        with pytest.raises(ValueError, match="fieldnames"):
            csv_bytes([{"a": 1}, {"b": 2}])


class TestVersions:
    def test_are_those_that_are_installed(self) -> None:
        found = versions()
        assert found.pop("python") == platform.python_version()
        assert found == {name: importlib.metadata.version(name) for name in PACKAGES}

    def test_what_is_not_installed_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(result_files, "PACKAGES", ("numpy", "no-such-package"))
        assert set(versions()) == {"python", "numpy"}
