"""The allocator as a setting of the process that serves: written, shown, obeyed, or refused."""

import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from tiku.artefact import open_artefact, verify, write
from tiku.core.instrument import Workbench
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.core.subject import Serve
from tiku.examination.measuring import needs_own_process
from tiku.measure.memory import probe
from tiku.methods.memory import allocator
from tiku.methods.memory.allocator import Allocator
from tiku.testing import tiny_classifier, tiny_context, tiny_texts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc reads its settings on Linux")

_GLIBC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


def _written(subject, method, folder):
    changed = method.apply(subject, tiny_context(folder))
    write(changed, folder / "artefact", recipe=Recipe.of(method), examples=tiny_texts(8))
    return folder / "artefact"


def test_settings_are_written_shown_and_true_to_the_answers(classifier, tmp_path):
    folder = _written(classifier, Allocator(mmap_kib=64, trim_kib=0, arenas=1), tmp_path)
    with pytest.warns(UserWarning, match="MALLOC_TRIM_THRESHOLD_=0"):
        opened = open_artefact(folder, threads=1)
    assert opened.serve.environment == _GLIBC
    opened.close()
    told = (folder / "README.md").read_text("utf-8")
    assert all(f"export {name}={value}" in told for name, value in _GLIBC.items())
    report = verify(folder)
    assert report.ok and report.without_tiku


def test_library_that_is_missing_is_refused_with_the_package_that_brings_it(classifier, monkeypatch):
    monkeypatch.setattr(allocator.ctypes.util, "find_library", lambda name: None)
    for library, package in (("jemalloc", "libjemalloc2"), ("mimalloc", "libmimalloc2.0")):
        support = Allocator(library=library).supports(classifier)
        assert not support and f"apt install {package}" in support.reason.en + support.reason.zh


def test_library_on_the_search_path_is_preloaded_by_its_name(classifier, tmp_path, monkeypatch):
    (tmp_path / "libjemalloc.so.2").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    changed = Allocator(library="jemalloc").apply(classifier, tiny_context(tmp_path))
    assert changed.serve.environment == {"LD_PRELOAD": "libjemalloc.so.2"}
    assert classifier.serve.environment == {}


def test_memory_is_probed_in_a_process_that_began_with_the_settings(classifier, tmp_path):
    serve = Serve(environment={"LD_PRELOAD": "libnosuchallocator.so.9"})
    write(replace(classifier, serve=serve), tmp_path / "a", recipe=Recipe(), examples=tiny_texts(8))
    with pytest.raises(Exception, match="failed") as caught:
        probe(tmp_path / "a", tiny_texts(4), threads=1)
    assert "libnosuchallocator.so.9" in str(caught.value)
    folder = _written(classifier, Allocator(), tmp_path)
    assert probe(folder, tiny_texts(4), threads=1).peak > 0


def test_timing_takes_place_where_the_settings_act_for_both_sides_alike(classifier, tmp_path):
    from tiku.artefact.apart import open_apart
    from tiku.measure.instruments._energy import source_for

    folder = _written(classifier, Allocator(), tmp_path)
    write(classifier, tmp_path / "plain", recipe=Recipe(), examples=tiny_texts(8))
    assert needs_own_process(folder, tmp_path / "plain") and not needs_own_process(tmp_path / "plain")
    candidate, base = open_apart(folder, threads=1), open_apart(tmp_path / "plain", threads=1)
    pids = {candidate.session.pid, base.session.pid, os.getpid()}
    assert len(pids) == 3 and "MALLOC_ARENA_MAX" not in psutil.Process(base.session.pid).environ()
    bench = Workbench(candidate, base, (), Protocol())
    source, _ = source_for(bench.candidate, bench.base)
    before = source.read()
    base.predict(tiny_texts(4000))
    assert source.used(before, source.read())[0] > 0
    candidate.close()
    base.close()


def test_predict_starts_itself_again_with_the_settings(classifier, tmp_path):
    folder = _written(classifier, Allocator(), tmp_path)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-W", "error", "-m", "tiku", "predict", str(folder), "-", "--json"]
    done = subprocess.run(command, input="good film\nbad film\n", env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # an artefact whose settings did not act would have warned
    assert done.stdout.count('"label"') == 2


def test_predict_says_so_when_they_cannot_act(classifier, tmp_path):
    serve = Serve(environment={"LD_PRELOAD": "libnosuchallocator.so.9"})
    write(replace(classifier, serve=serve), tmp_path / "a", recipe=Recipe(), examples=tiny_texts(8))
    command = [sys.executable, "-m", "tiku", "predict", str(tmp_path / "a"), "good"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3 and "do not act" in done.stderr and "libnosuchallocator" in done.stderr
