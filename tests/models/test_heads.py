"""Whose labels the head speaks: keeping it, turning its rows, or drawing a new one."""

from types import SimpleNamespace

import pytest

from tiku.core.errors import ModelError
from tiku.models._labels import declared_labels, plan_head


@pytest.mark.parametrize(
    ("own", "wanted", "order"),
    [
        (("neg", "pos"), ("neg", "pos"), (0, 1)),
        (("neg", "pos"), ("pos", "neg"), (1, 0)),
        (("NEGATIVE", "POSITIVE"), ("positive", "negative"), (1, 0)),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("a", "b", "c"), (0, 1, 2)),
        (("LABEL_0", "LABEL_1"), ("LABEL_1", "LABEL_0"), (1, 0)),
        (("c", "a", "b"), ("a", "b", "c"), (1, 2, 0)),
        (("0", "1"), ("0", "1"), (0, 1)),
        (("差评", "好评"), ("好评", "差评"), (1, 0)),
    ],
)
def test_head_is_kept_with_the_rows_of_its_labels(own, wanted, order):
    plan = plan_head(own, wanted)
    assert not plan.new and plan.labels == wanted and plan.order == order
    assert (
        tuple(own[row].casefold() for row in order) == tuple(w.casefold() for w in wanted)
        or own[0] == "LABEL_0"
    )


def test_without_wanted_labels_the_models_own_are_kept():
    plan = plan_head(("x", "y"), ())
    assert plan.labels == ("x", "y") and plan.order == (0, 1) and not plan.new


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (("neg", "pos"), ("bad", "good")),
        (("neg", "pos"), ("neg", "pos", "neutral")),
        (("neg", "pos", "neutral"), ("neg", "pos")),
        (("LABEL_0", "LABEL_1"), ("a", "b", "c")),
        (("a", "A"), ("A", "b")),
        (("a",), ("a", "b")),
    ],
)
def test_other_labels_need_a_new_head_and_the_reason_names_both(own, wanted):
    plan = plan_head(own, wanted)
    assert plan.new and plan.labels == wanted
    assert own[0] in plan.reason and wanted[-1] in plan.reason


def test_labels_that_differ_by_case_alone_are_told_apart_where_both_are_there():
    plan = plan_head(("a", "A"), ("A", "a"))
    assert not plan.new and plan.order == (1, 0)


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(ModelError, match="same name"):
        plan_head(("x",), ("a", "a"))


@pytest.mark.parametrize("table", [{0: "a", 2: "b"}, {1: "a", 2: "b"}, {"0": "a", "5": "b"}])
def test_labels_with_gaps_are_refused(table):
    with pytest.raises(ModelError, match="does not number the labels"):
        declared_labels(SimpleNamespace(id2label=table))


def test_labels_are_read_by_number_and_not_by_the_order_of_the_file():
    assert declared_labels(
        SimpleNamespace(id2label={"1": "b", "10": "k", "0": "a"} | {str(i): str(i) for i in range(2, 10)})
    )[:2] == ("a", "b")
