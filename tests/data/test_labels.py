"""Label values of every type to classes, in an order that does not depend on the rows."""

from decimal import Decimal

import numpy as np
import pytest

from tiku.core.errors import DataError
from tiku.data.labels import read_labels


def _read(values, **more):
    return read_labels(values, [f"row {i + 1}" for i in range(len(values))], **more)


@pytest.mark.parametrize(
    ("values", "classes", "indices"),
    [
        ([1, 0, 1, 0], ("0", "1"), (1, 0, 1, 0)),
        (["1", "0", "1", "0"], ("0", "1"), (1, 0, 1, 0)),
        ([True, False, True], ("false", "true"), (1, 0, 1)),
        ([4.0, 5.0, 1.0], ("1", "4", "5"), (1, 2, 0)),
        (["4.0", "5.0", "1.0", "4"], ("1", "4", "5"), (1, 2, 0, 1)),
        ([10, 9, 100], ("9", "10", "100"), (1, 0, 2)),
        ([-1, 1, 0], ("-1", "0", "1"), (0, 2, 1)),
        (["pos", "neg", " pos "], ("neg", "pos"), (1, 0, 1)),
        (["好评", "差评"], ("好评", "差评"), (0, 1)),
        (["10", "9", "none"], ("10", "9", "none"), (0, 1, 2)),
        ([Decimal("2"), Decimal("10.0")], ("2", "10"), (0, 1)),
        ([np.int64(1), np.float32(0.0), np.bool_(True)], ("0", "1", "true"), (1, 0, 2)),
        (["v1.5.0", "v1.4"], ("v1.4", "v1.5.0"), (1, 0)),
        (["--1", "-"], ("-", "--1"), (1, 0)),
    ],
)
def test_types_spellings_and_order(values, classes, indices):
    labels = _read(values)
    assert labels.class_names == classes and labels.indices == indices


def test_order_is_that_of_the_names_and_not_of_the_rows():
    assert _read(["b", "a", "c"]).class_names == _read(["c", "b", "a"]).class_names == ("a", "b", "c")


def test_spellings_that_differ_by_case_or_spaces_are_one_class_and_it_is_said():
    labels = _read(["Positive", "positive", "positive", "negative"])
    assert labels.class_names == ("negative", "positive") and labels.indices == (1, 1, 1, 0)
    assert "Positive, positive" in labels.warnings[0].en and "视为同一类别" in labels.warnings[0].zh


class TestMap:
    def test_renames_and_merges_in_the_order_of_the_map(self):
        stars = {"5": "good", "4": "good", "3": "so-so", "2": "bad", "1": "bad"}
        labels = _read(["1", "5", "3", "4", "2"], label_map=stars)
        assert labels.class_names == ("good", "so-so", "bad") and labels.indices == (2, 0, 1, 0, 2)

    @pytest.mark.parametrize("values", [[0.5, 4.5], ["0.5", "4.50"], [Decimal("0.50"), Decimal("4.5")]])
    def test_fractions_may_be_mapped(self, values):
        labels = _read(values, label_map={"0.5": "bad", "4.50": "good"})
        assert labels.class_names == ("bad", "good") and labels.indices == (0, 1)

    def test_keys_are_spelled_as_values_are(self):
        assert _read([1.0, 0.0], label_map={"1.0": "yes", "0": "no"}).indices == (0, 1)

    def test_a_class_that_no_row_has_is_left_out(self):
        labels = _read([0, 1], label_map={"0": "a", "1": "b", "2": "c"})
        assert labels.class_names == ("a", "b")
        (said,) = labels.warnings
        assert said.en.endswith("no row has: 2") and said.zh.endswith("不存在的标签：2")
        assert _read([0, 1], label_map={"0": "a", "1": "b"}).warnings == ()

    def test_a_label_without_entry_is_refused_with_a_hint(self):
        with pytest.raises(DataError, match="no entry") as caught:
            _read(["positive", "negative"], label_map={"positve": "good", "negative": "bad"})
        assert caught.value.got == "positive" and "did you mean positve" in caught.value.next_step


class TestDeclaredNames:
    def test_integers_are_named_and_keep_their_order(self):
        labels = _read([1, 0, 1], names=("pos", "neg"))
        assert labels.class_names == ("pos", "neg") and labels.indices == (1, 0, 1)

    def test_names_themselves_are_accepted(self):
        assert _read(["neg", "pos"], names=("neg", "pos")).indices == (0, 1)

    def test_classes_without_a_row_stay(self):
        assert _read([0, 2], names=("a", "b", "c")).class_names == ("a", "b", "c")

    @pytest.mark.parametrize("value", [-1, 2, "other"])
    def test_others_are_refused(self, value):
        with pytest.raises(DataError, match="outside the classes"):
            _read([0, 1, value], names=("a", "b"))


@pytest.mark.parametrize(
    ("values", "what", "got"),
    [
        ([0, None, 1], "no label", "row 2"),
        ([0.0, float("nan"), 1.0], "no label", "row 2"),
        (["a", " ", "b", "NaN"], "no label", "row 2, row 4"),
        ([0.5, 1.0], "fraction", "row 1: 0.5"),
        (["3.5", "4"], "fraction", "row 1: '3.5'"),
        ([["a"], "b"], "structure", "row 1: ['a']"),
        (["a", "a", "a"], "same label", "a (3 rows)"),
        ([f"id {i}" for i in range(30)], "ids or free text", "30 different labels in 30 rows"),
    ],
)
def test_values_that_are_no_classes_are_refused(values, what, got):
    with pytest.raises(DataError, match=what) as caught:
        _read(values)
    assert got in caught.value.got and caught.value.next_step


def test_a_label_that_train_never_shows_is_refused():
    parts = ("train", "train", "test")
    with pytest.raises(DataError, match="test split has a label that train does not have") as caught:
        _read(["good", "bad", "godo"], parts=parts)
    assert caught.value.got == "row 3: godo" and "did you mean good" in caught.value.next_step
