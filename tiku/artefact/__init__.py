"""Artefacts: a built model as a folder that can be checked, opened and served, with or without tiku.

`write` builds one, `open_artefact` and `predict` use it, `verify` proves it, `load_subject` takes it
back to a module that further methods can change.
"""

from tiku.artefact.loading import load_subject, read_facts
from tiku.artefact.manifest import SCHEMA, Manifest, read_manifest
from tiku.artefact.prediction import Prediction, predict
from tiku.artefact.predictor import OpenedArtefact, open_artefact
from tiku.artefact.recipe_file import parse_recipe, read_recipe, write_recipe
from tiku.artefact.verifier import VerifyReport, verify
from tiku.artefact.writer import write

__all__ = [
    "SCHEMA",
    "Manifest",
    "OpenedArtefact",
    "Prediction",
    "VerifyReport",
    "load_subject",
    "open_artefact",
    "parse_recipe",
    "predict",
    "read_facts",
    "read_manifest",
    "read_recipe",
    "verify",
    "write",
    "write_recipe",
]
