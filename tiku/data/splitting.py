"""`split`: duplicates out, groups together, classes in proportion, the source's own splits respected."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiku.core.data import SPLIT_NAMES, DataReport, Dataset, SplitName, Splits
from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data import findings
from tiku.data.dealing import deal, hash_order
from tiku.data.duplicates import find_duplicates, near_duplicates
from tiku.data.loaded import LoadedData
from tiku.data.prose import Prose

__all__ = ["Fractions", "split"]

MINIMUM_EXAMPLES = 20
MINIMUM_CHARACTERS = 2_000
_FEW_DOCUMENTS = 20  # below it, documents are cut into passages
_PASSAGES = 200
_LARGEST_LUMP = 0.05  # of groups joined by near-duplicates; more cannot be dealt in proportion
_LARGEST_CLUSTER = 0.02  # a chain of near-duplicates above this share is a template, not a copy


@dataclass(frozen=True)
class Fractions:
    """The share of each split. Zero for train or calibration leaves that part empty."""

    train: float = 0.78
    calibration: float = 0.02
    validation: float = 0.10
    test: float = 0.10

    def check(self) -> None:
        """Raise `DataError` unless these are shares of one with something to validate and test on."""
        shares = astuple(self)
        numbers = all(isinstance(s, float | int) and math.isfinite(s) and s >= 0 for s in shares)
        if not numbers or abs(sum(shares) - 1) > 1e-6 or self.validation <= 0 or self.test <= 0:
            raise DataError(
                "these are not fractions of a split",
                got=", ".join(f"{n}={s}" for n, s in zip(SPLIT_NAMES, shares, strict=True)),
                allowed="four numbers from 0 to 1 that sum to 1; validation and test above 0",
                next_step="for example train=0.78, calibration=0.02, validation=0.10, test=0.10",
            )


# Choices are never trained on: the train part is only where few-shot examples come from. Calibrating
# on prose needs tens of thousands of tokens.
DEFAULT_FRACTIONS = {
    "choices": Fractions(0.05, 0.05, 0.45, 0.45),
    "prose": Fractions(0.70, 0.10, 0.10, 0.10),
}


def split(source: Dataset | LoadedData, *, seed: int, fractions: Fractions | None = None) -> Splits:
    """Split once, deterministically in `seed` and the contents.

    Exact duplicates (equal after normalisation) are kept once, before anything is dealt; copies that
    contradict each other in their label are all dropped. Near-duplicates and groups stay in one
    split; classes are in proportion; labelled examples and questions are shuffled, so that the first
    items of a part are a fair sample of it. Documents of prose are dealt whole by their characters;
    fewer than 20 are cut into passages and divided in reading order. Splits that the source came with
    stay; what it lacks is taken from its train part. `fractions` defaults to 78/2/10/10 % for labelled
    texts, 70/10/10/10 % for prose and 5/5/45/45 % for choices. Raises `DataError` for bad fractions
    and for too little data.
    """
    loaded = source if isinstance(source, LoadedData) else LoadedData(source)
    shares = fractions or DEFAULT_FRACTIONS.get(loaded.dataset.kind, Fractions())
    shares.check()
    doubles = find_duplicates(loaded.dataset, loaded.parts)
    dataset = loaded.dataset.take(doubles.keep)
    parts = None if loaded.parts is None else tuple(loaded.parts[i] for i in doubles.keep)
    notes = list(findings.of_duplicates(doubles))
    _refuse_too_small(dataset)
    dataset, parts, contiguous, cut = _cut_prose(dataset, parts, shares)
    notes += cut
    keys = dataset.keys()
    clusters = near_duplicates(keys)
    positions = _positions(dataset, keys, parts, clusters, shares, seed, contiguous)
    order = hash_order(keys, seed + 1)
    if contiguous or isinstance(dataset, Prose):
        order = np.arange(len(dataset))
    splits = _assemble(dataset, positions, order, seed)
    facts, warnings = findings.of_splits(splits, positions, dataset, clusters, premade=parts is not None)
    report = DataReport(
        {**loaded.report.facts, **findings.duplicate_facts(doubles), **facts},
        loaded.report.guesses,
        (*loaded.report.warnings, *notes, *warnings),
    )
    return replace(splits, report=report)


def _cut_prose(
    dataset: Dataset, parts: tuple[SplitName, ...] | None, shares: Fractions
) -> tuple[Dataset, tuple[SplitName, ...] | None, bool, list[Text]]:
    """Documents become passages, to be divided in reading order, where few are there to be divided."""
    if not isinstance(dataset, Prose) or not _lacking(parts, np.asarray(astuple(shares))):
        return dataset, parts, False, []
    divided = len(dataset) if parts is None else parts.count("train")
    if divided >= _FEW_DOCUMENTS:
        return dataset, parts, False, []
    size = max(50, min(4_000, dataset.characters() // _PASSAGES))
    passages = dataset.passages(size)
    if parts is not None:
        pieces = [len(dataset.take([i]).passages(size)) for i in range(len(dataset))]
        parts = tuple(part for part, n in zip(parts, pieces, strict=True) for _ in range(n))
    note = Text(
        f"{divided} documents are too few to split whole: each is cut into passages "
        f"({len(passages)} in all) and divided in reading order, so neighbouring passages may lie in "
        "different splits",
        f"仅有 {divided} 篇文档，无法按整篇划分：每篇切成段落（共 {len(passages)} 段），按阅读顺序划分，"
        "因此相邻段落可能落在不同部分",
    )
    return passages, parts, True, [note]


def _lacking(parts: Sequence[SplitName] | None, shares: NDArray[np.float64]) -> list[int]:
    """The splits, as indices into `SPLIT_NAMES`, that are wanted and that the source does not have."""
    given = set(parts or ())
    return [i for i, name in enumerate(SPLIT_NAMES) if name not in given and shares[i] > 0]


def _refuse_too_small(dataset: Dataset) -> None:
    prose = isinstance(dataset, Prose)
    size = dataset.characters() if isinstance(dataset, Prose) else len(dataset)
    least, unit = (MINIMUM_CHARACTERS, "characters") if prose else (MINIMUM_EXAMPLES, "examples")
    if size < least:
        raise DataError(
            f"there {'is too little text' if prose else 'are too few examples'} to split",
            got=f"{dataset.name}: {size:,} without duplicates",
            allowed=f"at least {least:,} {unit}",
            next_step="add text" if prose else "add examples",
        )
    targets = dataset.targets()
    if targets is not None and len(left := np.unique(targets)) < 2:
        raise DataError(
            "one class is left when examples that contradict each other in their label are dropped",
            got=f"{dataset.name}: {dataset.classes()[int(left[0])]}",
            allowed="at least two classes",
            next_step="correct the labels of the texts that stand in the data with different ones",
        )


def _positions(
    dataset: Dataset,
    keys: Sequence[str],
    parts: tuple[SplitName, ...] | None,
    clusters: NDArray[np.int64] | None,
    shares: Fractions,
    seed: int,
    contiguous: bool,
) -> NDArray[np.int64]:
    """The split of each example as an index into `SPLIT_NAMES`."""
    share = np.asarray(astuple(shares))
    split_of = np.zeros(len(dataset), dtype=np.int64)
    pool = np.arange(len(dataset))
    if parts is not None:
        split_of = np.asarray([SPLIT_NAMES.index(part) for part in parts])
        pool = np.flatnonzero(split_of == 0)
        lacking = _lacking(parts, share)
        share = np.asarray([share[i] if i in lacking else 0.0 for i in range(len(share))])
        share[0] = 1 - share.sum()
        if not lacking:
            return split_of
    if contiguous and isinstance(dataset, Prose):
        split_of[pool] = _in_reading_order(dataset.take(pool), share)
    else:
        split_of[pool] = _deal(dataset, keys, pool, clusters, share, seed)
    return split_of


def _deal(
    dataset: Dataset,
    keys: Sequence[str],
    at: NDArray[np.int64],
    clusters: NDArray[np.int64] | None,
    share: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int64]:
    groups = _joint_groups(dataset.groups(), clusters)
    targets = dataset.targets()
    weights = None
    if isinstance(dataset, Prose):
        weights = np.asarray([float(len(dataset.documents[i])) for i in at])
    split_of = deal(
        [keys[i] for i in at],
        share.tolist(),
        seed=seed,
        classes=None if targets is None else targets[at],
        groups=None if groups is None else [groups[i] for i in at],
        weights=weights,
    )
    _refuse_empty(split_of, share, groups)
    return split_of


def _refuse_empty(
    split_of: NDArray[np.int64], share: NDArray[np.float64], groups: Sequence[Hashable] | None
) -> None:
    empty = [
        n for i, n in enumerate(SPLIT_NAMES) if share[i] > 0 and n != "calibration" and i not in split_of
    ]
    if empty:
        count = len(split_of) if groups is None else len(set(groups))
        raise DataError(
            f"no examples are left for {' and '.join(empty)}",
            got=f"{len(split_of)} examples in {count} groups that must stay whole",
            allowed="enough groups for every split (ten or more)",
            next_step="add groups, or leave the group column out",
        )


def _joint_groups(
    groups: Sequence[Hashable] | None, clusters: NDArray[np.int64] | None
) -> Sequence[Hashable] | None:
    """What must stay together: the data's own groups and near-duplicates, joined where they meet.

    Where joining would chain a large share of the data into one lump, the groups alone count, and
    what leaks is reported (`findings`).
    """
    copies = None if clusters is None else _copies(clusters)
    if groups is None or copies is None:
        return groups if copies is None else copies.tolist()
    numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    own = np.asarray([numbers[group] for group in groups])
    joined = _components(own, copies)
    allowed = max(int(np.bincount(own).max()), _LARGEST_LUMP * len(own), 10)
    return joined.tolist() if np.bincount(joined).max() <= allowed else groups


def _copies(clusters: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The clusters that are copies; a template of many texts is left as single texts."""
    sizes = np.bincount(clusters, minlength=len(clusters))
    if sizes.max() < 2:
        return None
    templates = sizes[clusters] > max(10, _LARGEST_CLUSTER * len(clusters))
    return np.where(templates, np.arange(len(clusters)), clusters)


def _components(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The component of each item when items that share a value of `a` or of `b` are linked."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(a)
    links = coo_array((np.ones(size, dtype=np.int8), (a, size + b)), shape=(2 * size, 2 * size))
    _, component = connected_components(links, directed=False)
    return np.unique(component[a], return_inverse=True)[1].ravel()


def _in_reading_order(prose: Prose, share: NDArray[np.float64]) -> NDArray[np.int64]:
    """Every document's passages in order: its first part to train, its last to test."""
    split_of = np.empty(len(prose), dtype=np.int64)
    edges = np.cumsum(share)
    for title in dict.fromkeys(prose.titles):
        at = [i for i, t in enumerate(prose.titles) if t == title]
        sizes = np.asarray([len(prose.documents[i]) for i in at], dtype=np.float64)
        middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
        split_of[at] = np.minimum(np.searchsorted(edges, middle, side="right"), len(share) - 1)
    return split_of


def _assemble(dataset: Dataset, split_of: NDArray[np.int64], order: NDArray[np.int64], seed: int) -> Splits:
    """The four parts, each in this order of the examples."""
    made = {name: dataset.take(order[split_of[order] == i]) for i, name in enumerate(SPLIT_NAMES)}
    return Splits(dataset.name, made["train"], made["calibration"], made["validation"], made["test"], seed)
