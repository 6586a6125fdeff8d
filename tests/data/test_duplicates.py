"""Exact duplicates by hand; near-duplicates against the similarity of every pair."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiku.data import Choices, LabelledTexts, Prose
from tiku.data.duplicates import find_duplicates, near_duplicates

LETTERS = "abcdefgh"


def _texts(*rows, classes=("bad", "good")):
    texts, labels = zip(*rows, strict=True)
    return LabelledTexts("rows", texts, np.asarray([classes.index(label) for label in labels]), classes)


def _jaccard(a, b):
    first, second = ({t[i : i + 5] for i in range(len(t) - 4)} for t in (a, b))
    return len(first & second) / len(first | second) if first and second else 0.0


def _clusters_of_all_pairs(texts):
    """Connected components over every pair at 0.8 or more, as the position of the first member."""
    home = list(range(len(texts)))
    for i, j in combinations(range(len(texts)), 2):
        if _jaccard(texts[i], texts[j]) >= 0.8 and home[i] != home[j]:
            kept, gone = sorted((home[i], home[j]))
            home = [kept if h == gone else h for h in home]
    return home


def _edited(draw, text, edits):
    at = list(text)
    for _ in range(edits):
        at[draw.randrange(len(at))] = draw.choice(LETTERS)
    return "".join(at)


class TestExact:
    def test_copies_that_differ_by_case_width_or_spaces_are_one(self):
        rows = _texts(
            ("Great  film", "good"), ("dull", "bad"), ("ｇｒｅａｔ film ", "good"), ("great\tfilm", "good")
        )
        found = find_duplicates(rows, None)
        assert found.keep.tolist() == [0, 1]
        assert (found.repeated, found.contradicting, found.leaks) == (2, 0, 0)

    def test_texts_with_two_labels_go_altogether_and_are_named(self):
        rows = _texts(("fine", "good"), ("odd", "bad"), ("FINE", "bad"), ("fine", "good"), ("dull", "bad"))
        found = find_duplicates(rows, None)
        assert found.keep.tolist() == [1, 4]
        assert (found.repeated, found.contradicting) == (0, 3)
        assert found.contradictions == ("fine",)

    def test_a_copy_in_test_wins_over_validation_and_train(self):
        rows = _texts(("a", "good"), ("b", "bad"), ("a", "good"), ("b", "bad"), ("c", "bad"), ("c", "bad"))
        parts = ("train", "train", "test", "validation", "test", "test")
        found = find_duplicates(rows, parts)
        assert found.keep.tolist() == [2, 3, 4]
        assert (found.repeated, found.leaks) == (3, 2)

    def test_pairs_count_both_texts_and_their_order(self):
        rows = LabelledTexts(
            "pairs", ("a", "a", "b", "A"), np.asarray([0, 0, 0, 0]), ("x", "y"), ("b", "c", "a", "B")
        )
        assert find_duplicates(rows, None).keep.tolist() == [0, 1, 2]

    def test_questions_are_the_same_with_their_options_in_another_order(self):
        asked = Choices("q", ("2+2?", "2+2?", "2+2?"), (("4", "5"), ("5", "4"), ("5", "3")), (0, 1, 0))
        assert find_duplicates(asked, None).keep.tolist() == [0, 2]

    def test_questions_with_another_right_answer_contradict(self):
        asked = Choices("q", ("2+2?", "2+2?"), (("4", "5"), ("5", "4")), (0, 0))
        assert find_duplicates(asked, None).contradicting == 2

    def test_documents_have_no_labels_to_contradict(self):
        prose = Prose("p", ("one", "two", "One"), ("a", "b", "c"))
        assert find_duplicates(prose, None).keep.tolist() == [0, 1]


class TestNear:
    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10_000))
    def test_clusters_are_those_of_all_pairs(self, seed):
        draw = random.Random(seed)
        bases = ["".join(draw.choices(LETTERS, k=draw.randint(5, 120))) for _ in range(12)]
        texts = [_edited(draw, draw.choice(bases), draw.randint(0, 4)) for _ in range(60)]
        assert near_duplicates(texts).tolist() == _clusters_of_all_pairs(texts)

    def test_a_pair_exactly_at_the_threshold_is_found(self):
        # 12 and 15 shingles, the 12 of the first all in the second: 12 / 15 = 0.8
        first, second = "abcdefghijklmnop", "abcdefghijklmnopqrs"
        assert _jaccard(first, second) == pytest.approx(0.8)
        assert near_duplicates(["something else", first, second]).tolist() == [0, 1, 1]

    def test_a_pair_just_below_the_threshold_is_not(self):
        first, second = "abcdefghijklmnop", "abcdefghijklmnopqrst"  # 12 / 16
        assert near_duplicates([first, second]).tolist() == [0, 1]

    def test_long_texts_that_share_one_sentence_are_not_copies(self):
        draw = random.Random(0)
        shared = "".join(draw.choices(LETTERS, k=200))
        texts = [shared + "".join(draw.choices(LETTERS, k=800)) for _ in range(20)]
        assert near_duplicates(texts).tolist() == list(range(20))

    def test_texts_shorter_than_a_shingle_are_left_alone(self):
        assert near_duplicates(["", "abcd", "abcd", "abcde", "abcde"]).tolist() == [0, 1, 2, 3, 3]

    def test_no_texts_and_only_short_texts_are_no_problem(self):
        assert near_duplicates([]).tolist() == []
        assert near_duplicates(["ab", "好"]).tolist() == [0, 1]

    def test_chinese_and_lone_surrogates_are_compared_by_character(self):
        text = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))  # 96 shingles
        two = text[:50] + "好" + text[51:] + "\ud83d"  # 5 of them differ, one is new: 91 / 102
        assert near_duplicates([text, two, text[::-1]]).tolist() == [0, 0, 2]

    def test_copies_are_found_among_many_texts_of_one_template(self):
        draw = random.Random(1)
        texts = [f"transfer {draw.random():.9f} dollars to account {draw.random():.9f}" for _ in range(3000)]
        copies = [text + "." for text in texts[:200]]
        clusters = near_duplicates(texts + copies)
        assert all(clusters[i] == clusters[3000 + i] for i in range(200))

    def test_too_many_characters_give_no_answer(self, monkeypatch):
        monkeypatch.setattr("tiku.data.duplicates._MOST_CHARACTERS", 10)
        assert near_duplicates(["abcdefgh", "abcdefgh"]) is None
