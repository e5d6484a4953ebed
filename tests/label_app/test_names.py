"""Names that strangers send to the real server lead to an id of the data list, or nowhere."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.label_server import Person, as_png, require_monailabel
from tests.support.people import a_mask
from tests.support.served import Served, tree

requests = require_monailabel()
pytestmark = pytest.mark.label


NAMES = [
    "../studies/secret", "..", "/etc/hostname", "..\\secret.png", "train_02/../train_02", "train_02\0", "secret",
    "secret.png", "link", "link.png", "%2e%2e/secret", "%2e%2e%2fsecret", "._train_02", "train_02_mask", "", "x" * 5000,
]  # fmt: skip
FILE_NAMES = [
    b"../../evil.png", b"/etc/evil.png", b"..\\evil.png", b"evil\0.png", b"%2e%2e%2fevil.png", b"..", b"a/b.png",
]  # fmt: skip


class TestNames:
    """Names lead to ids of the data list or to nothing: 4xx, and no file is made, changed or read."""

    @pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:20]))
    def test_of_images(self, served: Served, anna: Person, name: str) -> None:
        url, http = served.server.url, anna.http
        before = tree(served.studies, served.run, served.studies.parent / "tmp")
        asked = {"image": name}
        mask = {"label": ("m.png", as_png(a_mask()))}
        answers = [
            http.get(f"{url}/datastore/image", params=asked), http.head(f"{url}/datastore/image", params=asked),
            http.get(f"{url}/datastore/image/info", params=asked),
            http.get(f"{url}/datastore/label", params={"label": name, "tag": "final"}),
            http.head(f"{url}/datastore/label", params={**asked, "tag": "final"}),
            http.get(f"{url}/datastore/label/info", params={"label": name, "tag": "final"}),
            http.put(f"{url}/datastore/label", params=asked, files=mask),
            http.post(f"{url}/infer/joint", params=asked),
            http.post(f"{url}/infer/wsi/joint", params=asked, json={}),
            http.post(f"{url}/infer/wsi_v2/joint", params={**asked, "output": "asap"}),
            http.post(f"{url}/annotation/skip", json=asked), http.delete(f"{url}/annotation/skip", params=asked),
            http.delete(f"{url}/annotation/lease", params=asked),
        ]  # fmt: skip
        assert [answer.status_code for answer in answers if not 400 <= answer.status_code < 500] == []
        assert not any(b"localhost" in answer.content for answer in answers)
        assert tree(served.studies, served.run, served.studies.parent / "tmp") == before

    def test_in_parameters(self, served: Served, anna: Person) -> None:
        """MONAI Label takes whatever stands in the parameters for the image."""
        target = str(served.studies / "secret.png")
        form = {"params": json.dumps({"image": target, "label": target})}
        url = f"{served.server.url}/infer/joint"
        assert anna.http.post(url, params={"image": ""}, data=form).status_code == 400
        assert anna.http.post(url, params={"image": target}, data=form).status_code == 404

    @pytest.mark.parametrize("tag", ["../../evil", "/etc", "..\\evil", "final\0", "original", "%2e%2e", "x" * 3000])
    def test_of_tags(self, served: Served, anna: Person, tag: str) -> None:
        before = tree(served.studies, served.run)
        assert anna.send("train_12", as_png(a_mask()), tag=tag).status_code == 400
        for path in ("/datastore/label", "/datastore/label/info"):
            assert anna.get(path, label="train_00", tag=tag).status_code == 404
        assert tree(served.studies, served.run) == before

    @pytest.mark.parametrize("name", FILE_NAMES)
    def test_of_files(self, served: Served, anna: Person, name: bytes) -> None:
        before = tree(served.studies, served.run, served.studies.parent / "tmp")
        part = b'--B\r\nContent-Disposition: form-data; name="%s"; filename="' + name + b'"\r\n\r\n' + as_png(a_mask())
        for method, path, field in (("PUT", "/datastore/label", b"label"), ("POST", "/infer/joint", b"file")):
            answer = anna.http.request(
                method, f"{served.server.url}{path}?image=train_12",
                data=part.replace(b"%s", field, 1) + b"\r\n--B--\r\n",
                headers={"Content-Type": "multipart/form-data; boundary=B"},
            )  # fmt: skip
            assert 400 <= answer.status_code < 500, (method, answer.text)
        assert tree(served.studies, served.run, served.studies.parent / "tmp") == before

    def test_of_models_and_trainers(self, served: Served, anna: Person) -> None:
        url = served.server.url
        for path in ("/infer/other", "/infer/wsi/other", "/train/other", "/infer/..%2f", "/train/%2e%2e%2f"):
            assert anna.http.post(f"{url}{path}?image=train_02").status_code in (404, 405), path
        assert anna.get("/model/joint").status_code == 405

    def test_an_image_that_became_a_link_out_of_the_folder(self, served: Served, anna: Person) -> None:
        path = served.studies / "train_22.png"
        content = path.read_bytes()
        try:
            path.unlink()
            os.symlink("/etc/hostname", path)
            assert anna.get("/datastore/image", image="train_22").status_code == 404
            assert anna.http.post(f"{served.server.url}/infer/joint?image=train_22").status_code == 404
        finally:
            path.unlink()
            path.write_bytes(content)
