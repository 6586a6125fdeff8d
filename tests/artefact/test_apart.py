"""A session in a process of its own answers as one in this process does, and begins as it was asked to."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from tiku.artefact import open_artefact, write
from tiku.artefact.apart import open_apart
from tiku.core.errors import ArtefactError, CannotMeasure, DataError
from tiku.core.recipe import Recipe
from tiku.core.startup import idle_here, started_environment
from tiku.core.subject import Serve
from tiku.testing import tiny_texts

_SETTINGS = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the loader's variables are Linux's")


@pytest.fixture
def tuned(tmp_path, classifier):
    subject = dataclasses.replace(classifier, serve=Serve(environment=_SETTINGS))
    write(subject, tmp_path / "tuned", recipe=Recipe(), examples=tiny_texts(8))
    return tmp_path / "tuned"


def test_classifier_answers_the_same_and_its_process_began_with_the_settings(tuned, artefact):
    texts = tiny_texts(20, seed=7)
    here, there = open_artefact(artefact, threads=1), open_apart(tuned, threads=1)
    np.testing.assert_array_equal(here.predict(texts), there.predict(texts))
    holder = psutil.Process(there.session.pid)
    began = holder.environ()
    assert {name: began.get(name) for name in _SETTINGS} == _SETTINGS
    there.close()
    here.close()
    assert not holder.is_running()


def test_language_model_continues_the_same_alone_and_several_at_once(language_artefact):
    prompts, limits = tiny_texts(3, seed=2), [5, 9, 7]
    here, there = open_artefact(language_artefact, threads=1), open_apart(language_artefact, threads=1)
    for serve in (Serve(), Serve(slots=2), Serve(speculation="prompt-lookup")):
        here.serve = there.serve = serve
        mine, theirs = (m.complete(prompts, limits, past_end=True) for m in (here, there))
        assert [made.tokens for made in mine] == [made.tokens for made in theirs]
        assert here.cache_report == there.cache_report
    there.close()
    here.close()


def test_errors_cross_over_with_their_parts(language_artefact):
    there = open_apart(language_artefact, threads=1)
    with pytest.raises(DataError, match="empty prompt"):
        there.complete([""], 3)
    with pytest.raises(Exception, match="failed in the process that holds it"):
        there.session.run({"no_such_input": np.zeros((1, 2), dtype=np.int64)})
    assert len(there.complete(["good film"], 3, past_end=True)) == 1  # and it goes on answering
    there.close()


def test_killed_holder_is_an_error_and_not_a_wait(artefact):
    there = open_apart(artefact, threads=1)
    os.kill(there.session.pid, signal.SIGKILL)
    with pytest.raises(ArtefactError, match="has ended"):
        there.predict(tiny_texts(2))
    there.close()


def test_holder_ends_with_the_process_that_started_it(artefact):
    source = (
        "import os, sys; from tiku.artefact.apart import open_apart; "
        f"print(open_apart({str(artefact)!r}, threads=1).session.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_library_that_the_loader_does_not_find_is_refused_and_not_ignored(tmp_path, classifier):
    serve = Serve(environment={"LD_PRELOAD": "libnosuchallocator.so.9"})
    subject = dataclasses.replace(classifier, serve=serve)
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(8))
    with pytest.raises(CannotMeasure, match="do not act") as caught:
        open_apart(tmp_path / "a", threads=1)
    assert "libnosuchallocator.so.9" in str(caught.value)


def test_opening_it_where_the_settings_do_not_act_warns_with_what_to_set(tuned):
    with pytest.warns(UserWarning, match="MALLOC_ARENA_MAX=1"):
        open_artefact(tuned, threads=1).close()


def test_preloads_are_joined_and_given_back_once():
    present = {"LD_PRELOAD": "libone.so libtwo.so", "HOME": "/h"}
    once = started_environment({"LD_PRELOAD": "libours.so"}, present)
    assert once == {"LD_PRELOAD": "libours.so:libone.so:libtwo.so", "HOME": "/h"}
    assert started_environment({"LD_PRELOAD": "libours.so"}, once) == once


def test_only_what_a_process_began_with_counts(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    assert idle_here({"MALLOC_ARENA_MAX": "1"}) == ["MALLOC_ARENA_MAX=1"]
    source = "from tiku.core.startup import idle_here; print(idle_here({'MALLOC_ARENA_MAX': '1'}))"
    began = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert began.stdout.strip() == "[]"
