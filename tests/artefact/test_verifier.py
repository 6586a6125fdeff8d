"""Damage of every kind is named; an honest artefact passes in a fresh process."""

import json
import os
import shutil

import pytest

from tiku.artefact import open_artefact, predict, verify
from tiku.core.errors import ArtefactError


def _edit(folder, change):
    path = folder / "artefact.json"
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


def _truncate(folder):
    path = folder / "model" / "model.safetensors"
    os.truncate(path, path.stat().st_size // 2)


def _flip(folder):
    path = folder / "model" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def _add_pickle(folder):
    from tiku.core.hashing import hash_file

    path = folder / "model" / "extra.pkl"
    path.write_bytes(b"\x80\x04N.")
    entry = {"sha256": hash_file(path), "bytes": path.stat().st_size}
    _edit(folder, lambda v: v["files"].update({"model/extra.pkl": entry}))


_DAMAGE = {
    "no folder": (shutil.rmtree, "no such artefact folder"),
    "no manifest": (lambda f: (f / "artefact.json").unlink(), "no artefact here"),
    "manifest is not JSON": (lambda f: (f / "artefact.json").write_text("{"), "not valid JSON"),
    "manifest is a list": (lambda f: (f / "artefact.json").write_text("[]"), "not a JSON object"),
    "other schema": (
        lambda f: _edit(f, lambda v: v.update(schema="tiku.artefact/9")),
        "another schema version",
    ),
    "field missing": (lambda f: _edit(f, lambda v: v.pop("serve")), "does not have the fields"),
    "field of another type": (lambda f: _edit(f, lambda v: v.update(files=[1])), "does not have the fields"),
    "unknown serve setting": (
        lambda f: _edit(f, lambda v: v["serve"].update(x=1)),
        "does not have the fields",
    ),
    "truncated weights": (_truncate, "cut short"),
    "flipped byte": (_flip, "changed after it was built"),
    "file missing": (lambda f: (f / "model" / "config.json").unlink(), "are missing"),
    "file added": (lambda f: (f / "model" / "new.txt").write_text("x"), "does not list"),
    "path escape": (
        lambda f: _edit(f, lambda v: v["files"].update({"../secret": {"sha256": "", "bytes": 1}})),
        "outside its folder",
    ),
    "symbolic link": (lambda f: (f / "model" / "link").symlink_to("/etc/passwd"), "symbolic link"),
    "pickle": (_add_pickle, "pickle"),
    "unknown runtime": (lambda f: _edit(f, lambda v: v.update(runtime="abacus")), "no runtime of the name"),
    "unknown family": (
        lambda f: _edit(f, lambda v: v.update(family="abacus")),
        "no model family of the name",
    ),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_damaged_artefact_does_not_open_and_says_why(artefact, damage):
    harm, message = _DAMAGE[damage]
    harm(artefact)
    with pytest.raises(ArtefactError, match=message) as caught:
        predict(artefact, ["good"])
    assert caught.value.next_step and caught.value.got is not None


@pytest.mark.parametrize(
    "damage", ["truncated weights", "flipped byte", "other schema", "unknown runtime", "pickle"]
)
def test_verify_reports_damage_instead_of_raising(artefact, damage):
    harm, message = _DAMAGE[damage]
    harm(artefact)
    report = verify(artefact)
    assert not report.ok and message in report.error.what
    assert report.to_json()["ok"] is False and "what" in report.to_json()["error"]


def test_honest_artefact_passes_in_a_fresh_process_without_tiku(artefact):
    report = verify(artefact)
    assert report.ok and report.hashes_ok and report.without_tiku
    assert report.max_abs_diff <= report.tolerance
    assert report.to_json()["ok"] is True


def test_weights_exchanged_with_correct_hashes_are_still_found(artefact):
    """Hashes prove that files belong together; the reference outputs prove that the model is the same."""
    from safetensors.numpy import load_file, save_file

    from tiku.core.hashing import hash_file

    path = artefact / "model" / "model.safetensors"
    weights = load_file(path)
    weights["classifier.bias"] = weights["classifier.bias"] + 0.5
    save_file(weights, path, metadata={"format": "pt"})
    entry = {"sha256": hash_file(path), "bytes": path.stat().st_size}
    _edit(artefact, lambda v: v["files"].update({"model/model.safetensors": entry}))
    report = verify(artefact)
    assert not report.ok and "answers it gave when it was built" in report.error.what
    assert report.max_abs_diff == pytest.approx(0.5, abs=1e-4)


def test_manifest_cannot_widen_the_tolerance_until_anything_passes(artefact):
    _edit(artefact, lambda v: v["check"].update(tolerance=1e9))
    assert verify(artefact).tolerance < 10


def test_weights_that_are_trusted_are_not_hashed(artefact):
    _flip(artefact)
    open_artefact(artefact, threads=1, check_hashes=False).close()


def test_language_model_is_verified_on_its_last_position(language_artefact):
    report = verify(language_artefact)
    assert report.ok and report.without_tiku


def test_module_of_ones_own_is_verified_through_its_function(tmp_path, monkeypatch):
    from tiku.artefact import write
    from tiku.core import registry
    from tiku.core.recipe import Recipe

    (tmp_path / "own_model.py").write_text(_OWN_MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    subject = registry.get("models", "torch-module").load("own_model:build", cache=tmp_path)
    write(subject, tmp_path / "a", recipe=Recipe(), examples=["abc", "a longer one", "x"])
    report = verify(tmp_path / "a")
    assert report.error is None and report.without_tiku


_OWN_MODEL = """
import numpy as np
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(300, 2)

    def forward(self, codes, attention_mask):
        return (self.table(codes) * attention_mask[..., None]).sum(1)


class Codes:
    task = "text-classification"
    labels = ("no", "yes")

    def encode(self, inputs, max_length):
        rows = [[min(ord(c), 299) for c in text][:max_length] for text in inputs]
        return [{"codes": row, "attention_mask": [1] * len(row)} for row in rows]

    def collate(self, encodings):
        width = max(len(e["codes"]) for e in encodings)
        return {k: np.array([e[k] + [0] * (width - len(e[k])) for e in encodings]) for k in encodings[0]}


def build():
    torch.manual_seed(3)
    return Net(), Codes()
"""
