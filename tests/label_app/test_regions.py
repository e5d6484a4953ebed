"""A run over regions of slides: viewers get their pixels, and what they draw is taken."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.data.run_data import open_data
from tests.support.label_server import Person, Server, as_png, require_monailabel
from tests.support.people import a_mask, asking_run
from tests.support.regions import SIDE, make_pool

requests = require_monailabel()
pytestmark = pytest.mark.label


def test_pixels_go_out_as_png(tmp_path: Path) -> None:
    pool = make_pool(tmp_path)
    data = open_data(str(pool), image_size=(SIDE, SIDE))
    key = next(item["id"] for item in data.datalist.items if item["split"] == "train")
    asking_run(tmp_path / "runs" / "label_prop_seed0", data, (key,))
    server = Server(pool, tmp_path / "runs", conf={"device": "cpu"})
    try:
        server.start()
        anna = Person(server)
        answer = anna.get("/datastore/image", image=key)
        with Image.open(io.BytesIO(answer.content)) as picture:
            np.testing.assert_array_equal(np.asarray(picture), data.store.original_image(key))
        assert anna.send(key, as_png(a_mask((SIDE, SIDE)))).ok
    finally:
        server.close()
