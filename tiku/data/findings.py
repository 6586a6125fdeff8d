"""What splitting found, in words: duplicates, leaks, imbalance, small parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.data import SPLIT_NAMES, Dataset, Splits
from tiku.core.text import Text
from tiku.data.duplicates import Duplicates

__all__ = ["duplicate_facts", "of_duplicates", "of_splits"]

TINY_CLASS = 20
IMBALANCE = 10.0
FEW_TEST_ITEMS = 100


def duplicate_facts(found: Duplicates) -> dict[str, Any]:
    """The counts behind `of_duplicates`."""
    return {
        "duplicates_dropped": found.repeated,
        "contradicting_dropped": found.contradicting,
        "leaks_between_given_splits": found.leaks,
    }


def of_duplicates(found: Duplicates) -> Iterator[Text]:
    """One line each for repeated, contradicting and leaked examples."""
    if found.repeated:
        yield Text(
            f"{found.repeated} duplicates dropped before splitting (equal after Unicode NFKC, case folding "
            "and trimming of spaces)",
            f"划分前删除了 {found.repeated} 条重复样本（按 Unicode NFKC、大小写与空白归一化后相同）",
        )
    if found.contradicting:
        example = found.contradictions[0][:60]
        yield Text(
            f"{found.contradicting} copies of {len(found.contradictions)} examples contradict each other in "
            f'their label and are dropped, for example "{example}"',
            f"{len(found.contradictions)} 个样本的 {found.contradicting} 份副本标签互相矛盾，已全部删除，"
            f"例如“{example}”",
        )
    if found.leaks:
        yield Text(
            f"{found.leaks} examples stood in more than one of the source's own splits: kept in test (or "
            "validation) only",
            f"{found.leaks} 条样本同时出现在数据自带的多个划分中：只保留在测试集（或验证集）中",
        )


def of_splits(
    splits: Splits,
    split_of: NDArray[np.int64],
    dataset: Dataset,
    clusters: NDArray[np.int64] | None,
    *,
    premade: bool,
) -> tuple[dict[str, Any], tuple[Text, ...]]:
    """Facts and warnings about the splits as made."""
    facts: dict[str, Any] = {"splits": splits.sizes(), "own_splits": premade}
    warnings = [*_near(clusters, split_of, dataset, facts), *_groups(dataset, split_of)]
    if dataset.kind != "prose":
        warnings += _small(splits)
    warnings += _classes(splits, dataset, facts)
    return facts, tuple(warnings)


def _near(
    clusters: NDArray[np.int64] | None, split_of: NDArray[np.int64], dataset: Dataset, facts: dict[str, Any]
) -> Iterator[Text]:
    if clusters is None:
        facts["near_duplicates"] = None
        yield Text("the data are too large to look for near-duplicates", "数据量过大，未检查近似重复样本")
        return
    sizes = np.bincount(clusters, minlength=len(clusters))
    facts["near_duplicates"] = int((sizes[clusters] > 1).sum())
    trained = set(clusters[split_of == 0].tolist())
    judged = split_of >= SPLIT_NAMES.index("validation")
    leaked = int(sum(c in trained for c in clusters[judged].tolist()))
    facts["near_duplicates_across"] = leaked
    if facts["near_duplicates"]:
        yield Text(
            f"{facts['near_duplicates']} examples are near-duplicates of another; {leaked} of them stand in "
            "validation or test with their twin in train",
            f"{facts['near_duplicates']} 条样本与其他样本近似重复；其中 {leaked} 条在验证集或测试集中，"
            "而与之近似的样本在训练集中",
        )
    targets = dataset.targets()
    if targets is not None and facts["near_duplicates"]:
        yield from _suspicious(clusters, targets, facts)


def _suspicious(
    clusters: NDArray[np.int64], targets: NDArray[np.int64], facts: dict[str, Any]
) -> Iterator[Text]:
    differs = targets != targets[clusters]  # the cluster's number is the position of its first member
    facts["near_duplicates_with_other_label"] = int(differs.sum())
    if differs.any():
        yield Text(
            f"{int(differs.sum())} near-duplicates carry another label than their twin: look at them",
            f"{int(differs.sum())} 条近似重复样本的标签与其近似样本不同，建议人工检查",
        )


def _groups(dataset: Dataset, split_of: NDArray[np.int64]) -> Iterator[Text]:
    groups = dataset.groups()
    if groups is None or dataset.kind == "prose":
        return
    trained = {g for g, s in zip(groups, split_of.tolist(), strict=True) if s == 0}
    judged = {
        g for g, s in zip(groups, split_of.tolist(), strict=True) if SPLIT_NAMES[s] in ("validation", "test")
    }
    both = len(trained & judged)
    if both:
        yield Text(
            f"{both} groups stand both in train and in validation or test: the source's own splits leak",
            f"{both} 个分组同时出现在训练集与验证集或测试集中：数据自带的划分存在泄漏",
        )


def _small(splits: Splits) -> Iterator[Text]:
    n = len(splits.test)
    if n < FEW_TEST_ITEMS:
        half = 98.0 / math.sqrt(max(n, 1))
        yield Text(
            f"the test part has only {n} examples: a proportion measured on it is known to about "
            f"±{half:.0f} points",
            f"测试集只有 {n} 条样本：在其上测得的比例误差约为 ±{half:.0f} 个百分点",
        )


def _classes(splits: Splits, dataset: Dataset, facts: dict[str, Any]) -> Iterator[Text]:
    targets, names = dataset.targets(), dataset.classes()
    if targets is None:
        return
    count = np.bincount(targets, minlength=len(names))
    facts["classes"] = {name: int(n) for name, n in zip(names, count, strict=True)}
    most, least = int(count.max()), max(int(count.min()), 1)
    if most > IMBALANCE * least:
        big, small = names[int(count.argmax())], names[int(count.argmin())]
        yield Text(
            f'the classes are imbalanced: "{big}" has {most / least:.0f} times as many examples as "{small}"'
            "; read balanced accuracy and the metrics per class",
            f"类别不平衡：“{big}”的样本数是“{small}”的 {most / least:.0f} 倍；请看平衡准确率与各类别的指标",
        )
    tiny = [f"{name} ({n})" for name, n in zip(names, count, strict=True) if n < TINY_CLASS]
    if tiny:
        yield Text(
            f"classes with fewer than {TINY_CLASS} examples: {', '.join(tiny[:10])}",
            f"样本少于 {TINY_CLASS} 条的类别：{'、'.join(tiny[:10])}",
        )
    yield from _absent(splits, names)


def _absent(splits: Splits, names: tuple[str, ...]) -> Iterator[Text]:
    for part in ("train", "validation", "test"):
        targets = splits[part].targets()
        missing = [n for i, n in enumerate(names) if targets is not None and i not in targets]
        if missing:
            yield Text(
                f"the {part} part holds no example of: {', '.join(missing[:10])}",
                f"{part} 部分没有以下类别的样本：{'、'.join(missing[:10])}",
            )
