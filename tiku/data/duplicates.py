"""Examples that stand in the data twice, exactly or nearly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tiku.core.data import Dataset, SplitName
from tiku.data.choices import Choices

__all__ = ["Duplicates", "find_duplicates", "near_duplicates"]

# Which copy stays when one example came in several of the source's own splits: the one in test.
_PRECEDENCE: dict[SplitName, int] = {"test": 0, "validation": 1, "calibration": 2, "train": 3}

SHINGLE = 5  # characters
THRESHOLD = 0.8  # Jaccard similarity of the shingles
_BANDS, _ROWS = 16, 3  # a pair at the threshold is missed with probability (1 - 0.8^3)^16 = 1e-5
_WORTH_A_LOOK = 0.55  # share of equal hashes; at the threshold it is lower in 1 pair of 100,000
_SHORT_RUN = 16  # texts of one bucket: up to so many, all pairs are compared,
_HEADS = 3  # above it each with the first three
_KEPT = 1 << 14  # texts whose shingles stay in memory
_MOST_CHARACTERS = 100_000_000
_CHUNK = 1 << 16  # characters hashed at a time: they stay in the cache


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
    checked against the exact similarity, so clusters hold no false pair. Linear in the characters: the
    pairs compared within a bucket are bounded by a multiple of its size.
    """
    if sum(map(len, keys)) > _MOST_CHARACTERS:
        return None
    filled = [i for i, key in enumerate(keys) if len(key) >= SHINGLE]
    signatures = _signatures([keys[i] for i in filled])
    parent = list(range(len(filled)))

    @lru_cache(maxsize=_KEPT)
    def shingles(at: int) -> NDArray[np.uint64]:
        return _distinct(_codes(keys[filled[at]]))

    for band in range(_BANDS):
        for first, second in _candidates(signatures, band):
            a, b = _root(parent, first), _root(parent, second)
            if a != b and _similar(shingles(first), shingles(second)):
                parent[max(a, b)] = min(a, b)
    clusters = np.arange(len(keys))
    clusters[filled] = [filled[_root(parent, at)] for at in range(len(filled))]
    return clusters


def _signatures(texts: Sequence[str]) -> NDArray[np.uint64]:
    """MinHash values, shape (texts, bands x rows), of texts that each have a shingle.

    Hash k of a shingle x is a_k x + b_k modulo 2^64 (a_k odd): linear maps are close enough to
    min-wise independent ones (Bohman, Cooper & Frieze 2000).
    """
    draw = _mix(np.arange(1, 2 * _BANDS * _ROWS + 1, dtype=np.uint64))
    scale, shift = draw[::2] | np.uint64(1), draw[1::2]
    found = np.empty((len(scale), len(texts)), dtype=np.uint64)
    sizes = np.asarray([len(text) for text in texts], dtype=np.int64)
    chunk = np.cumsum(sizes) // _CHUNK
    for number in np.unique(chunk).tolist():
        at = slice(*np.searchsorted(chunk, [number, number + 1]).tolist())
        codes = _codes("".join(texts[at]))
        starts = np.cumsum(sizes[at]) - sizes[at]
        edges = np.stack([starts, starts + sizes[at] - SHINGLE + 1], axis=1).ravel()[:-1]
        for k in range(len(scale)):  # what lies between an end and the next start spans two texts
            found[k, at] = np.minimum.reduceat(codes * scale[k] + shift[k], edges)[::2]
    return np.ascontiguousarray(found.T)


def _codes(text: str) -> NDArray[np.uint64]:
    """A hash of every run of 5 characters."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    n = len(points) - SHINGLE + 1
    code = np.zeros(n, dtype=np.uint64)
    for k in range(SHINGLE):
        code = code * np.uint64(1_000_003) + points[k : k + n]
    return _mix(code)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sorted, each once (`np.unique` takes several times as long on a hundred values)."""
    values = np.sort(values)
    kept: NDArray[np.uint64] = values[np.append(True, values[1:] != values[:-1])]
    return kept


def _candidates(signatures: NDArray[np.uint64], band: int) -> Iterator[tuple[int, int]]:
    """Pairs of rows that are equal in this band and whose share of equal hashes, which estimates the
    similarity, makes an exact look worth while."""
    code = np.zeros(len(signatures), dtype=np.uint64)
    for column in signatures[:, band * _ROWS : (band + 1) * _ROWS].T:
        code = _mix(code ^ column)
    order = np.argsort(code, kind="stable")
    first, second = (order[at] for at in _pairs_of_runs(code[order]))
    for at in range(0, len(first), _CHUNK):
        one, other = first[at : at + _CHUNK], second[at : at + _CHUNK]
        equal = np.count_nonzero(signatures[one] == signatures[other], axis=1)
        worth = equal >= _WORTH_A_LOOK * signatures.shape[1]
        yield from zip(one[worth].tolist(), other[worth].tolist(), strict=True)


def _pairs_of_runs(ordered: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (i, j), i < j, of equal values: all pairs of a short run; of a long one, each member
    with the first few."""
    if not len(ordered):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    size = np.diff(np.append(starts, len(ordered)))
    start, size = np.repeat(starts, size), np.repeat(size, size)
    here = np.arange(len(ordered))
    pairs = []
    for step in range(1, _SHORT_RUN):
        at = here[(size <= _SHORT_RUN) & (here + step < start + size)]
        pairs.append((at, at + step))
    for step in range(_HEADS):
        at = here[(size > _SHORT_RUN) & (here > start + step)]
        pairs.append((start[at] + step, at))
    first, second = zip(*pairs, strict=True)
    return np.concatenate(first), np.concatenate(second)


def _similar(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> bool:
    """Whether two sorted sets have a Jaccard similarity of at least the threshold."""
    if min(len(a), len(b)) < THRESHOLD * max(len(a), len(b)):
        return False
    at = np.minimum(np.searchsorted(b, a), len(b) - 1)
    shared = int(np.count_nonzero(b[at] == a))
    return shared >= THRESHOLD * (len(a) + len(b) - shared)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
