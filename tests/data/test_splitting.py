"""Splitting: shares kept, copies dropped, everything worth knowing reported."""

import random
from collections import Counter

import numpy as np
import pytest

from tests.data.made import WORDS, dataset, facts_of, said_of, sentences, texts_of
from tiku.core.data import SPLIT_NAMES
from tiku.core.errors import DataError
from tiku.data import Choices, Fractions, LoadedData, Prose, split


class TestLabelled:
    def test_sizes_are_the_default_shares(self):
        assert split(dataset(sentences(1000)), seed=0).sizes() == {
            "train": 780, "calibration": 20, "validation": 100, "test": 100,
        }  # fmt: skip

    def test_own_fractions_are_kept_per_class(self):
        labels = [0] * 300 + [1] * 100
        splits = split(dataset(sentences(400), labels), seed=0, fractions=Fractions(0.5, 0.1, 0.2, 0.2))
        counts = {name: np.bincount(splits[name].labels).tolist() for name in SPLIT_NAMES}
        assert counts == {
            "train": [150, 50], "calibration": [30, 10], "validation": [60, 20], "test": [60, 20],
        }  # fmt: skip

    def test_every_text_is_in_one_part_with_its_own_label(self):
        texts = sentences(137)
        labels = dict(zip(texts, [i % 2 for i in range(137)], strict=True))
        splits = split(dataset(texts), seed=4)
        dealt = [
            (t, label)
            for n in SPLIT_NAMES
            for t, label in zip(splits[n].texts, splits[n].labels, strict=True)
        ]
        assert sorted(t for t, _ in dealt) == sorted(texts)
        assert all(labels[t] == label for t, label in dealt)

    def test_seed_decides_and_the_order_of_the_rows_does_not(self):
        texts = sentences(100)
        labels = [i % 2 for i in range(100)]
        first, again, other = (texts_of(split(dataset(texts, labels), seed=s)) for s in (1, 1, 2))
        assert first == again and first != other
        turned = texts_of(split(dataset(texts[::-1], labels[::-1]), seed=1))
        assert {name: set(part) for name, part in turned.items()} == {n: set(p) for n, p in first.items()}

    def test_parts_are_shuffled(self):
        train = split(dataset(sentences(500)), seed=0).train
        numbers = [int(text.split()[0]) for text in train.texts]
        assert abs(np.corrcoef(numbers, range(len(numbers)))[0, 1]) < 0.2

    def test_exact_copies_are_dropped_before_splitting_and_counted(self):
        texts = sentences(60)
        splits = split(dataset([*texts, *(t.upper() for t in texts)], [i % 2 for i in range(60)] * 2), seed=0)
        assert sum(splits.sizes().values()) == 60 and facts_of(splits)["duplicates_dropped"] == 60
        assert "60 duplicates dropped" in said_of(splits)

    def test_copies_with_two_labels_are_dropped_and_named(self):
        texts = sentences(60)
        splits = split(dataset([*texts, texts[0], texts[2]], [0, 1] * 30 + [1, 1]), seed=0)
        assert sum(splits.sizes().values()) == 58 and facts_of(splits)["contradicting_dropped"] == 4
        assert f'contradict each other in their label and are dropped, for example "{texts[0]}"' in said_of(
            splits
        )

    def test_nothing_but_contradictions_of_one_class_is_refused(self):
        texts = sentences(40)
        with pytest.raises(DataError, match="one class is left") as caught:
            split(dataset([*texts, *texts[:5]], [0] * 40 + [1] * 5), seed=0)
        assert "bad" in caught.value.got

    def test_too_few_examples_are_refused(self):
        with pytest.raises(DataError, match="too few examples") as caught:
            split(dataset(sentences(19)), seed=0)
        assert "19 without duplicates" in caught.value.got and "20" in caught.value.allowed

    def test_twenty_examples_are_enough_for_every_judged_part(self):
        sizes = split(dataset(sentences(20)), seed=0).sizes()
        assert sizes["train"] >= 15 and sizes["validation"] == sizes["test"] == 2
        assert sum(sizes.values()) == 20

    @pytest.mark.parametrize(
        "shares",
        [(0.5, 0.2, 0.2, 0.2), (1, 0, 0, 0), (0.8, 0, 0.2, 0), (float("nan"), 0, 0.5, 0.5), (1.2, -0.4, 0.1, 0.1)],  # noqa: E501
    )  # fmt: skip
    def test_fractions_that_are_none_are_refused(self, shares):
        with pytest.raises(DataError, match="not fractions"):
            split(dataset(sentences(40)), seed=0, fractions=Fractions(*shares))

    def test_a_hundred_thousand_texts_are_no_problem(self):
        # minutes for anything quadratic, and the run's time limit would end it
        assert split(dataset(sentences(100_000)), seed=0).sizes()["test"] == 10_000


class TestReports:
    def test_imbalance_and_tiny_classes_are_said_in_both_languages(self):
        splits = split(dataset(sentences(300), [0] * 285 + [1] * 15), seed=0)
        assert facts_of(splits)["classes"] == {"bad": 285, "good": 15}
        assert 'imbalanced: "bad" has 19 times as many examples as "good"' in said_of(splits)
        assert "classes with fewer than 20 examples: good (15)" in said_of(splits)
        chinese = "\n".join(text.zh for text in splits.report.warnings)
        assert "类别不平衡" in chinese and "样本少于 20 条的类别：good (15)" in chinese

    def test_balanced_large_data_warn_of_nothing(self):
        assert split(dataset(sentences(2000)), seed=0).report.warnings == ()

    def test_a_class_absent_from_a_part_is_named(self):
        splits = split(dataset(sentences(300), [0] * 296 + [1] * 4), seed=0)
        here = {name: 1 in splits[name].labels for name in ("train", "validation", "test")}
        for name, present in here.items():
            assert (f"the {name} part holds no example of: good" in said_of(splits)) is not present
        assert not all(here.values())

    def test_few_test_items_come_with_how_little_they_tell(self):
        # 95 % of a proportion near one half on n items: 98 / sqrt(n) points
        assert "only 10 examples" in said_of(split(dataset(sentences(100)), seed=0))
        assert "±31 points" in said_of(split(dataset(sentences(100)), seed=0))


class TestProse:
    def _prose(self, sizes):
        draw = random.Random(0)
        texts = [" ".join(draw.choices(WORDS, k=n)) + f" {i}." for i, n in enumerate(sizes)]
        return Prose("p", tuple(texts), tuple(f"title {i}" for i in range(len(texts))))

    def test_documents_stay_whole_and_shares_count_characters(self):
        prose = self._prose([50 + 37 * i % 400 for i in range(200)])
        splits = split(prose, seed=0)
        assert Counter(t for n in SPLIT_NAMES for t in splits[n].documents) == Counter(prose.documents)
        for name, share in zip(SPLIT_NAMES, (0.7, 0.1, 0.1, 0.1), strict=True):
            assert abs(splits[name].characters() / prose.characters() - share) < 0.02

    def test_few_documents_are_cut_and_divided_in_reading_order(self):
        prose = self._prose([3000, 3000])
        splits = split(prose, seed=0)
        for at, title in enumerate(prose.titles):
            pieces = [
                d
                for n in SPLIT_NAMES
                for d, t in zip(splits[n].documents, splits[n].titles, strict=True)
                if t == title
            ]
            assert "".join(pieces) == prose.documents[at]
        assert abs(splits.train.characters() / prose.characters() - 0.7) < 0.03
        assert "too few to split whole" in said_of(splits)

    def test_one_file_per_part_is_kept_and_calibration_is_cut_from_train(self):
        prose = self._prose([4000, 500, 600])
        splits = split(LoadedData(prose, parts=("train", "validation", "test")), seed=0)
        assert "".join(splits.validation.documents) == prose.documents[1]
        assert "".join(splits.test.documents) == prose.documents[2]
        assert "".join((*splits.train.documents, *splits.calibration.documents)) == prose.documents[0]
        assert abs(splits.calibration.characters() / len(prose.documents[0]) - 0.1) < 0.03

    def test_documents_that_are_near_copies_stay_together(self):
        prose = self._prose([60] * 60)
        copies = tuple(d + " The end." for d in prose.documents)
        both = Prose("p", prose.documents + copies, tuple(f"t{i}" for i in range(120)))
        assert facts_of(split(both, seed=0))["near_duplicates_across"] == 0

    def test_too_little_text_is_refused(self):
        with pytest.raises(DataError, match="too little text") as caught:
            split(Prose("p", ("word " * 300,), ("t",)), seed=0)
        assert "1,500" in caught.value.got


def test_questions_go_mostly_to_the_judged_parts():
    asked = tuple(sentences(400))
    choices = Choices("q", asked, (("yes", "no"),) * 400, (0,) * 400)
    assert split(choices, seed=0).sizes() == {"train": 20, "calibration": 20, "validation": 180, "test": 180}
