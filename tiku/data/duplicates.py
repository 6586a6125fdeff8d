"""Examples that stand in the data twice, exactly or nearly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiku.core.data import Dataset, SplitName
from tiku.data.choices import Choices

__all__ = ["Duplicates", "find_duplicates", "near_duplicates"]

# Which copy stays when one example came in several of the source's own splits: the one in test.
_PRECEDENCE: dict[SplitName, int] = {"test": 0, "validation": 1, "calibration": 2, "train": 3}

SHINGLE = 5  # characters
THRESHOLD = 0.8  # Jaccard similarity of the shingles
_BANDS, _ROWS = 8, 3  # a pair at the threshold is found with probability 1 - (1 - 0.8^3)^8 = 0.997
_MOST_CHARACTERS = 30_000_000


@dataclass(frozen=True)
class Duplicates:
    """Positions to keep, in order, and how many went. `contradictions` are texts that stand there with
    different answers: none of their `contradicting` copies is kept. `leaks` counts the copies that
    stood in another of the source's own splits."""

    keep: NDArray[np.int64]
    repeated: int
    contradicting: int
    contradictions: tuple[str, ...]
    leaks: int


def find_duplicates(dataset: Dataset, parts: Sequence[SplitName] | None) -> Duplicates:
    """Equal after normalisation (`Dataset.keys`). Linear in the number of examples."""
    answers = _answers(dataset)
    copies: dict[str, list[int]] = defaultdict(list)
    for i, key in enumerate(dataset.keys()):
        copies[key].append(i)
    keep: list[int] = []
    contradictions: list[str] = []
    contradicting = leaks = 0
    for key, at in copies.items():
        if answers is not None and len({answers[i] for i in at}) > 1:
            contradictions.append(key)
            contradicting += len(at)
            continue
        if parts is not None:
            at = sorted(at, key=lambda i: _PRECEDENCE[parts[i]])
            leaks += sum(parts[i] != parts[at[0]] for i in at)
        keep.append(at[0])
    repeated = len(dataset) - len(keep) - contradicting
    order = np.sort(np.asarray(keep, dtype=np.int64))
    return Duplicates(order, repeated, contradicting, tuple(contradictions), leaks)


def _answers(dataset: Dataset) -> Sequence[object] | None:
    if isinstance(dataset, Choices):
        return dataset.answer_texts()
    targets = dataset.targets()
    return None if targets is None else targets.tolist()


def near_duplicates(keys: Sequence[str]) -> NDArray[np.int64] | None:
    """The cluster of each text: texts of one cluster are chained by Jaccard similarity >= 0.8 of their
    5-character shingles. The cluster's number is the position of its first member. None when the
    texts are too many to compare.

    MinHash with banding (Broder 1997; Leskovec, Rajaraman & Ullman, ch. 3); every candidate pair is
    checked against the exact similarity, so clusters hold no false pair. Within one bucket, members
    are compared with the bucket's first.
    """
    if sum(map(len, keys)) > _MOST_CHARACTERS:
        return None
    parent = list(range(len(keys)))
    shingles = [_shingles(key) for key in keys]
    signatures = _signatures(shingles)
    filled = np.asarray([i for i in range(len(keys)) if len(shingles[i])], dtype=np.int64)
    for band in range(_BANDS):
        rows = signatures[filled, band * _ROWS : (band + 1) * _ROWS]
        _, bucket = np.unique(rows, axis=0, return_inverse=True)
        order = np.argsort(bucket.ravel(), kind="stable")
        first: dict[int, int] = {}
        for i, b in zip(filled[order].tolist(), bucket.ravel()[order].tolist(), strict=True):
            head = first.setdefault(b, i)
            a, c = _root(parent, head), _root(parent, i)
            if a != c and _similar(shingles[head], shingles[i]):
                parent[max(a, c)] = min(a, c)
    return np.asarray([_root(parent, i) for i in range(len(keys))], dtype=np.int64)


def _shingles(text: str) -> NDArray[np.uint64]:
    """Distinct hashes of the runs of 5 characters; empty for a shorter text."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    n = len(points) - SHINGLE + 1
    if n < 1:
        return np.empty(0, dtype=np.uint64)
    code = np.zeros(n, dtype=np.uint64)
    for k in range(SHINGLE):
        code = code * np.uint64(1_000_003) + points[k : k + n]
    return np.unique(_mix(code))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _signatures(shingles: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """MinHash values, shape (texts, bands x rows); rows of texts without shingles are zero."""
    salts = _mix(np.arange(1, _BANDS * _ROWS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    found = np.zeros((len(shingles), len(salts)), dtype=np.uint64)
    for i, codes in enumerate(shingles):
        if len(codes):
            found[i] = _mix(codes[:, None] ^ salts).min(axis=0)
    return found


def _similar(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> bool:
    if min(len(a), len(b)) < THRESHOLD * max(len(a), len(b)):
        return False
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared >= THRESHOLD * (len(a) + len(b) - shared)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
