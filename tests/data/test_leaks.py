"""Nothing of one part in another: copies, near copies, groups, and the source's own splits."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.made import dataset, facts_of, said_of, sentences
from tiku.core.data import SPLIT_NAMES
from tiku.core.errors import DataError
from tiku.data import Fractions, LoadedData, split


class TestLeaks:
    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 1000))
    def test_near_copies_and_groups_are_never_in_two_splits(self, seed):
        draw = random.Random(seed)
        bases = ["".join(draw.choices("abcdefgh", k=60)) for _ in range(120)]
        texts = [t for b in bases for t in (b, b[:30] + draw.choice("ijklmn") + b[31:] + "z")]
        # copies link groups of two to four texts into chains of up to twelve
        groups = [(i + draw.choice((0, 1)) * (i % 12 < 10)) // 3 for i in range(len(texts))]
        splits = split(dataset(texts, groups=groups), seed=seed)
        homes = {}
        for name in SPLIT_NAMES:
            for text, group in zip(splits[name].texts, splits[name].groups(), strict=True):
                for thing in (("group", group), ("copy", text[:20])):
                    assert homes.setdefault(thing, name) == name
        assert facts_of(splits)["near_duplicates_across"] == 0

    def test_near_copies_are_counted_and_those_with_another_label_reported(self):
        texts = sentences(60)
        copies = [text + "!" for text in texts[:10]]
        labels = [i % 2 for i in range(60)] + [(i + (i < 3)) % 2 for i in range(10)]
        splits = split(dataset([*texts, *copies], labels), seed=0)
        facts = facts_of(splits)
        assert facts["near_duplicates"] == 20 and facts["near_duplicates_with_other_label"] == 3
        assert "20 examples are near-duplicates" in said_of(splits)
        assert "3 near-duplicates carry another label" in said_of(splits)

    def test_a_template_is_not_taken_for_copies(self):
        frame = "please transfer the following sum of dollars to the account of my dear old friend"
        texts = [f"{frame} {i}" for i in range(200)]
        splits = split(dataset(texts), seed=0)
        assert splits.sizes()["test"] == 20
        assert facts_of(splits)["near_duplicates_across"] > 0  # said, and not hidden

    def test_groups_that_copies_would_chain_into_one_lump_stay_groups(self):
        # group g shares a near copy with group g + 1, for all g: joined, there would be one component
        texts, groups = [], []
        for g, text in enumerate(sentences(60, seed=5)):
            texts += [text, text + " !"]
            groups += [g, (g + 1) % 60]
        splits = split(dataset(texts, groups=groups), seed=0)
        homes = {}
        for name in SPLIT_NAMES:
            for group in splits[name].groups():
                assert homes.setdefault(group, name) == name
        assert facts_of(splits)["near_duplicates_across"] > 0

    def test_too_few_groups_are_refused_with_their_number(self):
        with pytest.raises(DataError, match="no examples are left for") as caught:
            split(dataset(sentences(60), groups=[i % 2 for i in range(60)]), seed=0)
        assert "2 groups" in caught.value.got

    def test_whole_groups_keep_the_classes_in_proportion(self):
        groups = [i // 5 for i in range(1000)]
        labels = [int(i // 5 % 4 == 0) for i in range(1000)]
        splits = split(dataset(sentences(1000), labels, groups), seed=0)
        for name in ("train", "validation", "test"):
            assert abs(splits[name].labels.mean() - 0.25) <= 5 / len(splits[name])


class TestGivenSplits:
    def _loaded(self, parts, texts=None, **more):
        texts = sentences(len(parts)) if texts is None else texts
        return LoadedData(dataset(texts, **more), parts=tuple(parts))

    def test_given_parts_stay_as_they_are(self):
        parts = ["train"] * 60 + ["calibration"] * 10 + ["validation"] * 10 + ["test"] * 20
        loaded = self._loaded(parts)
        splits = split(loaded, seed=0)
        for name in SPLIT_NAMES:
            wanted = {t for t, p in zip(loaded.dataset.texts, parts, strict=True) if p == name}
            assert set(splits[name].texts) == wanted
        assert facts_of(splits)["own_splits"] is True

    def test_what_is_lacking_comes_out_of_train_and_test_stays_whole(self):
        loaded = self._loaded(["train"] * 200 + ["test"] * 50)
        splits = split(loaded, seed=0)
        assert splits.sizes() == {"train": 176, "calibration": 4, "validation": 20, "test": 50}
        assert set(splits.test.texts) == set(loaded.dataset.texts[200:])

    def test_a_text_of_train_and_test_stays_in_test_alone_and_is_reported(self):
        texts = sentences(80)
        again = [*texts, *texts[:10], *sentences(20, seed=9)]
        loaded = self._loaded(["train"] * 80 + ["test"] * 30, again)
        splits = split(loaded, seed=0)
        assert set(texts[:10]) <= set(splits.test.texts)
        assert not set(splits.train.texts) & set(splits.test.texts)
        assert facts_of(splits)["leaks_between_given_splits"] == 10
        assert "10 examples stood in more than one of the source's own splits" in said_of(splits)

    def test_near_copies_across_given_parts_are_reported(self):
        texts = sentences(80)
        parts = ["train"] * 70 + ["validation"] * 10 + ["test"] * 20
        loaded = self._loaded(parts, [*texts, *(t + "!" for t in texts[:20])])
        no_calibration = Fractions(0.8, 0.0, 0.1, 0.1)
        assert facts_of(split(loaded, seed=0, fractions=no_calibration))["near_duplicates_across"] == 20

    def test_groups_across_given_parts_are_reported(self):
        parts = ["train"] * 70 + ["validation"] * 10 + ["test"] * 20
        loaded = self._loaded(parts, groups=[i % 40 if i < 70 else i % 80 for i in range(100)])
        said = said_of(split(loaded, seed=0, fractions=Fractions(0.8, 0.0, 0.1, 0.1)))
        assert "20 groups stand both in train and in validation or test" in said
