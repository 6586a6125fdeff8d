"""Labelled texts made on the spot, and what a split says about them."""

import random

import numpy as np

from tiku.core.data import SPLIT_NAMES
from tiku.data import LabelledTexts

WORDS = (
    "a", "film", "with", "the", "best", "plot", "and", "no", "cast", "we", "saw", "since", "that", "music",
)  # fmt: skip


def sentences(count, seed=0):
    draw = random.Random(seed)
    return [f"{i} " + " ".join(draw.choices(WORDS, k=12)) for i in range(count)]


def dataset(texts, labels=None, groups=None, classes=("bad", "good")):
    labels = [i % len(classes) for i in range(len(texts))] if labels is None else labels
    groups = None if groups is None else tuple(groups)
    return LabelledTexts("rows", tuple(texts), np.asarray(labels), classes, group_ids=groups)


def texts_of(splits):
    return {name: list(splits[name].texts) for name in SPLIT_NAMES}


def facts_of(splits):
    return splits.report.facts


def said_of(splits):
    return "\n".join(text.en for text in splits.report.warnings)
