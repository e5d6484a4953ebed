"""Nobody stops the others: connections, half requests, uploads, predictions and the database of another program."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.label_server import APP, ROOT, Person, Server, encoded, require_monailabel
from tests.support.load import Predictions, slowest
from tests.support.people import a_mask
from tests.support.served import Served, make_served

requests = require_monailabel()
pytestmark = pytest.mark.label


def seconds_of(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def status_of_bomb(person: Person, content: bytes, name: str) -> tuple[int, str, float]:
    began = time.perf_counter()
    answer = person.send("train_10", content, name)
    return answer.status_code, answer.json().get("detail", ""), time.perf_counter() - began


class TestConnections:
    """With 256 file descriptors, of which each connection needs one."""

    @pytest.fixture(scope="class")
    def narrow(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        served = make_served(tmp_path_factory.mktemp("narrow"))
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        try:
            served.server.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        yield served.server
        served.server.close()

    def test_300_half_requests_do_not_keep_others_out(self, narrow: Server) -> None:
        written = narrow.log.stat().st_size
        with ExitStack() as stack:
            held = []
            for _ in range(300):
                connection = stack.enter_context(socket.socket())
                connection.settimeout(0.2)
                try:
                    connection.connect(("127.0.0.1", narrow.port))
                    connection.sendall(b"GET / HTTP/1.1\r\nHo")
                except OSError:
                    continue
                held.append(connection)
            deadline, answered = time.monotonic() + 14, False
            while time.monotonic() < deadline and not answered:
                try:
                    answered = requests.get(f"{narrow.url}/annotation/status", timeout=5).status_code == 200
                except requests.RequestException:
                    time.sleep(0.2)
            assert answered  # as soon as the half ones are too late, at most 10 s
        assert narrow.log.stat().st_size - written < 100_000  # not a line per refused connection

    def test_too_many_get_an_answer(self, narrow: Server) -> None:
        with ExitStack() as stack:
            for _ in range(110):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", narrow.port), timeout=5))
            connection.settimeout(5)
            assert b"too many connections" in connection.recv(1000)


QUICK = f"""
import sys
sys.path[:0] = [{str(APP)!r}, {str(ROOT)!r}, {str(ROOT / "bundle")!r}]
import uvicorn
from lib.access import limits
assert (limits.HEAD_S, limits.BODY_S) == (10.0, 120.0)
limits.HEAD_S, limits.BODY_S = 1.0, 2.0
async def app(scope, receive, send):
    while (await receive()).get("more_body"): pass
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}})
    await send({{"type": "http.response.body", "body": b"ok"}})
config = uvicorn.Config(app, port=int(sys.argv[1]), http=limits.BoundedProtocol, lifespan="off")
uvicorn.Server(config).run()
"""


class TestTime:
    """The same connections with one second for a head and two for a body, so that tests end."""

    @pytest.fixture(scope="class")
    def port(self) -> Iterator[int]:
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        process = subprocess.Popen([sys.executable, "-c", QUICK, str(port)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield port
        process.kill()
        process.wait()

    @pytest.mark.parametrize("half", [b"", b"GET / HTTP/1.1\r\nHo"])
    def test_a_head_has_its_time(self, port: int, half: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(half)
            began, found = time.monotonic(), b""
            while chunk := connection.recv(4096):
                found += chunk
            assert b"408" in found
            assert 0.5 < time.monotonic() - began < 5

    def test_so_has_a_second_one_on_the_same_connection(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" in connection.recv(4096)
            connection.sendall(b"GET / HTTP/1.1\r\n")
            began, found = time.monotonic(), b""
            while chunk := connection.recv(4096):
                found += chunk
            assert time.monotonic() - began < 4

    def test_a_body_that_drips_ends_too(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
            began, found = time.monotonic(), b""
            connection.settimeout(0.3)
            while b"408" not in found and time.monotonic() - began < 10:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    found += connection.recv(1000)
            assert b"408" in found
            assert 1.5 < time.monotonic() - began < 6

    def test_whole_requests_are_answered(self, port: int) -> None:
        for _ in range(3):
            assert requests.post(f"http://127.0.0.1:{port}/", data=b"x" * 10_000, timeout=10).text == "ok"

    @pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
    def test_an_answer_that_nobody_reads_does_not_hold_its_connection(self, more: str) -> None:
        """300 of them held all connections for as long as they liked."""
        with bounded("limits.UNREAD_S = 1.0", ANSWERS) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
            time.sleep(5.0)
            count = 0
            with contextlib.suppress(OSError):
                while part := connection.recv(2**20):
                    count += len(part)
            assert count < 2**24  # it ended before all was sent

    def test_who_reads_slowly_gets_all(self) -> None:
        with bounded("limits.UNREAD_S = 1.0", ANSWERS) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            count, began = 0, time.monotonic()
            while count < 2**24:
                part = connection.recv(2**19)
                assert part
                count += len(part)
                time.sleep(0.1)
            assert time.monotonic() - began > 2.0


ANSWERS = """
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"16777216")]})
        await send({"type": "http.response.body", "body": b"x" * 2**24})
"""


@contextlib.contextmanager
def bounded(setting: str, answer: str) -> Iterator[socket.socket]:
    """A connection to a server whose only limits are those of connections."""
    code = f"""
import asyncio, sys
sys.path[:0] = [{str(APP)!r}, {str(ROOT)!r}, {str(ROOT / "bundle")!r}]
import uvicorn
from lib.access import limits
{setting}
async def app(scope, receive, send):
    if scope["type"] == "http":
        {answer}
config = uvicorn.Config(app, port=int(sys.argv[1]), http=limits.BoundedProtocol, lifespan="off")
uvicorn.Server(config).run()
"""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", code, str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=10)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with connection:
            yield connection
    finally:
        process.kill()
        process.wait()


class TestUploads:
    @pytest.mark.parametrize(
        ("size", "kind"), [(70 * 2**20, "multipart/form-data; boundary=B"), (2 * 2**20, "application/json")]
    )
    def test_too_large_is_refused_by_its_head(self, served: Served, size: int, kind: str) -> None:
        head = (f"PUT /datastore/label?image=train_02 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {size}\r\n\r\n")  # fmt: skip
        with socket.create_connection(("127.0.0.1", served.server.port), timeout=10) as connection:
            connection.sendall(head.encode())
            assert b"413" in connection.recv(1000).split(b"\r\n")[0]

    def test_too_large_in_pieces_without_a_length(self, served: Served, anna: Person) -> None:
        def pieces() -> Iterator[bytes]:
            for _ in range(40):
                yield b"x" * 2**16

        url = f"{served.server.url}/activelearning/queue"
        answer = anna.http.post(url, data=pieces(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 413

    @pytest.mark.parametrize("length", [[], [(b"content-length", b"60000000")], [(b"content-length", b"5")]])
    def test_a_few_large_ones_at_once(self, limits: Any, length: list[tuple[bytes, bytes]]) -> None:
        """Counted is what has come, whatever was told: somebody who only claims to send keeps nobody out."""
        piece = {"type": "http.request", "body": bytes(2**20), "more_body": True}
        go, answers = asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                for _ in range(60):
                    await receive()
                answers.append("taken")
                await go.wait()
            except limits.TooManyError:
                answers.append("refused")

        async def come() -> dict[str, Any]:
            await asyncio.sleep(0)
            return piece

        async def play() -> int:
            uploads = limits.Uploads(app)
            told = [(b"content-type", b"multipart/form-data; boundary=B"), *length]
            scope = {"type": "http", "headers": told if length != [] else [*told, (b"transfer-encoding", b"chunked")]}
            tasks = [asyncio.create_task(uploads(scope, come, None)) for _ in range(5)]
            while len(answers) < 5:
                await asyncio.sleep(0.01)
            go.set()
            await asyncio.gather(*tasks)
            return int(uploads.at_work)

        assert asyncio.run(play()) == 0  # those that ended are not counted any more
        assert sorted(answers) == ["refused"] + ["taken"] * 4

    def test_claims_alone_keep_nobody_out(self, served: Served) -> None:
        head = (b"PUT /datastore/label?image=train_02 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000000\r\n"
                b"Content-Type: multipart/form-data; boundary=B\r\n\r\n--B\r\n")  # fmt: skip
        with ExitStack() as stack:
            for _ in range(8):
                address = ("127.0.0.1", served.server.port)
                connection = stack.enter_context(socket.create_connection(address, timeout=10))
                connection.sendall(head)
            time.sleep(0.3)
            answer = Person(served.server).send("train_10", b"\0" * 2**21)
            assert answer.status_code == 422


@pytest.fixture(scope="module")
def limits() -> Iterator[Any]:
    sys.path.insert(0, str(APP))
    try:
        yield importlib.import_module("lib.access.limits")
    finally:
        sys.path.remove(str(APP))


def png_of(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (width, height), 1).save(buffer, format="PNG")
    return buffer.getvalue()


class TestCostOfMasks:
    def test_a_picture_of_169_million_pixels_is_refused_undecoded(self, served: Served, anna: Person) -> None:
        psutil = pytest.importorskip("psutil")
        assert served.server.process is not None
        content, memory = png_of(13_000, 13_000), psutil.Process(served.server.process.pid).memory_info
        before = memory().rss
        status, text, seconds = status_of_bomb(anna, content, "m.png")
        assert (status, "another size than its image" in text) == (422, True)
        assert seconds < 2
        assert memory().rss - before < 50 * 2**20

    def test_nifti_that_unpacks_to_gigabytes(self, anna: Person) -> None:
        import gzip

        import nibabel

        header = nibabel.Nifti1Image(np.zeros((4, 4), np.uint8), np.eye(4)).header  # type: ignore[attr-defined, no-untyped-call]
        for shape in ((64, 64), (13_000, 13_000)):
            header.set_data_shape(shape)
            content = gzip.compress(header.binaryblock + bytes(200 * 2**20), 1)
            status, text, seconds = status_of_bomb(anna, content, "m.nii.gz")
            assert status == 422, text
            assert seconds < 3

    def test_half_a_million_points(self, anna: Person) -> None:
        ring = np.random.default_rng(0).uniform(0, 64, (400_000, 2)).round(2).tolist()
        status, text, seconds = status_of_bomb(anna, polygon(ring), "m.geojson")
        assert status == 200 or "too large" in text or "too many" in text, text
        assert seconds < 20

    def test_a_million_points_and_as_many_shapes(self, anna: Person) -> None:
        status, text, _ = status_of_bomb(anna, polygon([[i % 7, i % 5] for i in range(1_000_000)]), "m.geojson")
        assert (status, "too many outlines" in text) == (422, True)
        one = '{"type":"Polygon","coordinates":[[[0,0],[64,0],[64,64]]]}'
        many = f"[{','.join([one] * 100_000)}]".encode()
        status, text, seconds = status_of_bomb(anna, many, "m.geojson")
        assert (status, "too many outlines" in text) == (422, True)
        assert seconds < 10

    def test_shapes_over_each_other(self, anna: Person) -> None:
        ring = [[0, 0], [64, 0], [64, 64], [0, 64]] * 2000
        many = json.dumps([{"type": "Feature", "properties": {"classification": {"name": "a"}},
                            "geometry": {"type": "Polygon", "coordinates": [ring]}}] * 50).encode()  # fmt: skip
        status, text, seconds = status_of_bomb(anna, many, "m.geojson")
        assert (status, "take too long to draw" in text or "mask is empty" in text) == (422, True)
        assert seconds < 10


def polygon(ring: list[Any]) -> bytes:
    return json.dumps({"type": "Polygon", "coordinates": [ring]}, separators=(",", ":")).encode()


class TestPredictions:
    @pytest.mark.parametrize("size", [(3000, 3000), (1400, 1400), (100_001, 10)])
    def test_an_image_far_larger_than_those_of_the_run(
        self, served: Served, anna: Person, size: tuple[int, int]
    ) -> None:
        files = {"file": ("x.png", png_of(*size))}
        began = time.perf_counter()
        answer = anna.http.post(f"{served.server.url}/infer/joint", files=files, timeout=60)
        assert answer.status_code == 422
        assert "far larger than those of the run" in answer.json()["detail"]
        assert time.perf_counter() - began < 2

    def test_thirty_at_once_leave_the_others_their_second(self, served: Served) -> None:
        """With a pass over all images beside them; with a score of the pool: tests/label_app/test_app.py."""
        person, work = Person(served.server, "dora"), Predictions(served.server).start()
        assert person.http.post(f"{served.server.url}/batch/infer/joint", timeout=10).status_code == 200
        found = slowest(person, "train_03", lambda: work.goes_on)
        assert max(found.values()) < 1.0, found
        assert work.end() == [200] * 30  # 48 may wait
        person.http.delete(f"{served.server.url}/batch/infer", timeout=30)

    def test_more_than_may_wait(self) -> None:
        sys.path.insert(0, str(APP))
        try:
            from lib.access.limits import Turns
            from lib.refusals import BusyError, status_of
        finally:
            sys.path.remove(str(APP))
        turns, go, inside = Turns("predictions", 1, 2), threading.Event(), []

        def work() -> None:
            with turns.turn():
                inside.append(1)
                go.wait(10)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 5
        while turns._inside < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(inside) == 1
        with pytest.raises(BusyError, match="too many predictions at once; expected at most 3") as caught, turns.turn():
            pass
        assert status_of(caught.value) == 429
        go.set()
        for thread in threads:
            thread.join()
        with turns.turn():
            pass
        assert len(inside) == 3


class TestDatabaseOfAnother:
    def test_questions_are_answered_while_another_program_writes(self, served: Served, anna: Person) -> None:
        other = sqlite3.connect(served.run / "state.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=lambda: anna.next())  # waits for the other's end
        try:
            waiting.start()
            time.sleep(0.3)
            for path in ("/info/", "/openapi.json", "/annotation/status", "/datastore/image?image=train_02"):
                assert seconds_of(lambda p=path: Person(served.server).get(p)) < 1.0, path
        finally:
            other.execute("ROLLBACK")
            other.close()
            waiting.join(30)

    def test_nor_do_all_who_wait_for_it_take_the_threads_of_the_others(self, served: Served) -> None:
        """140 who asked for the next image held every thread until the other program had ended."""
        other = sqlite3.connect(served.run / "state.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        codes: list[int] = []

        def ask(number: int) -> None:
            person = Person(served.server, f"p{number}")
            url = f"{served.server.url}/activelearning/queue"
            codes.append(person.http.post(url, json={"client_id": person.name}, timeout=60).status_code)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(140)]
        try:
            for thread in threads:
                thread.start()
            time.sleep(1.0)
            assert seconds_of(lambda: Person(served.server).get("/annotation/status")) < 2.0
        finally:
            other.execute("ROLLBACK")
            other.close()
            for thread in threads:
                thread.join(60)
        assert sorted(set(codes)) == [200, 429]
        assert codes.count(200) >= 36


def test_a_server_that_is_told_to_end_does_not_wait_for_half_an_upload(tmp_path: Path) -> None:
    served = make_served(tmp_path)
    try:
        served.server.start()
        with socket.create_connection(("127.0.0.1", served.server.port)) as connection:
            head = b"PUT /datastore/label?image=train_02 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
            connection.sendall(head + b"Content-Type: multipart/form-data; boundary=B\r\n\r\n--B")
            time.sleep(0.5)
            assert seconds_of(lambda: served.server.kill(signal.SIGTERM)) < 15
    finally:
        served.server.close()


def test_no_room_for_temporary_files(tmp_path: Path) -> None:
    """Masks need none; a picture that is sent for prediction is refused with the folder's cure."""
    served = make_served(tmp_path)
    full = tmp_path / "tmp"
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(full)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    try:
        served.server.start()
        with contextlib.suppress(OSError):
            (full / "fill").write_bytes(b"x" * 10**6)
        anna = Person(served.server)
        noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
        answer = anna.http.post(f"{served.server.url}/infer/joint", files={"file": ("x.png", encoded(noise, "PNG"))})
        assert answer.status_code in (503, 507)
        assert "No space left" in answer.json()["detail"]
        assert anna.infer("train_02", "image").shape == (64, 64)
        mask = a_mask()
        large = io.BytesIO()
        info = PngInfo()
        info.add_text("comment", "x" * 900_000)
        info.add_text("more", "x" * 900_000)
        Image.fromarray(mask * 255).save(large, format="PNG", pnginfo=info)
        assert len(large.getvalue()) > 2**20
        assert anna.send("train_02", large.getvalue()).status_code == 200
    finally:
        served.server.close()
        subprocess.run(["umount", str(full)], check=False)
