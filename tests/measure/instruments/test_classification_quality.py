"""Quality of a classifier from given logits, against scikit-learn and counting by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk
from statsmodels.stats.contingency_tables import mcnemar

from tiku.core.errors import CannotMeasure
from tiku.core.instrument import Reading, Workbench
from tiku.core.protocol import Protocol
from tiku.core.subject import Serve
from tiku.data.labelled_texts import LabelledTexts
from tiku.measure.instruments.classification_quality import INSTRUMENT
from tiku.measure.stats import paired_proportion_difference

PROTOCOL = Protocol(bootstrap=400)
NAMES = ("ant", "bee", "cat", "dog")


@dataclass
class Given:
    """A model whose logits are known: the text of an item is its number."""

    logits_NC: np.ndarray
    labels: tuple[str, ...]
    task: str = "text-classification"
    family: str = "text-classification"
    folder: Path = Path()
    serve: Serve = field(default_factory=Serve)
    session: Any = field(default_factory=lambda: SimpleNamespace(device="cpu"))
    asked: int = 0

    def predict(self, inputs: Any) -> np.ndarray:
        self.asked += len(inputs)
        return self.logits_NC[[int(text.split()[0]) for text in inputs]]

    def encode(self, inputs: Any) -> list[dict[str, list[int]]]:
        return [{"input_ids": [1] * len(text.split())} for text in inputs]

    def close(self) -> None:
        pass


def items(labels: np.ndarray, classes: int, **more: Any) -> LabelledTexts:
    texts = tuple(f"{i} {'word ' * (i % 3 * 5)}".strip() for i in range(labels.size))
    return LabelledTexts("made", texts, labels, NAMES[:classes], **more)


def two_models(rng: np.random.Generator, n: int, classes: int) -> tuple[np.ndarray, Given, Given]:
    """Labels, and two models that share most of their noise; the second is the better one."""
    labels = rng.integers(0, classes, n)
    noise = rng.standard_normal((2, n, classes))
    base = 1.5 * np.eye(classes)[labels] + 1.2 * noise[0]
    better = 2.2 * np.eye(classes)[labels] + noise[0] + 0.5 * noise[1]
    return labels, *(Given(z.astype(np.float32), NAMES[:classes]) for z in (base, better))


def measure(candidate: Given, data: LabelledTexts, base: Given | None = None, **more: Any) -> Reading:
    return INSTRUMENT.measure(Workbench(candidate, base, (data,), more.pop("protocol", PROTOCOL), **more))


def by_scikit_learn(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    p, k = softmax(logits.astype(float), axis=1), logits.shape[1]
    predicted, columns = p.argmax(1), [1] if k == 2 else range(k)
    macro = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "f1_macro": sk.f1_score(labels, predicted, **macro),
        "f1_micro": sk.f1_score(labels, predicted, average="micro"),
        "precision_macro": sk.precision_score(labels, predicted, **macro),
        "recall_macro": sk.recall_score(labels, predicted, **macro),
        "mcc": sk.matthews_corrcoef(labels, predicted),
        "auc_roc": np.mean([sk.roc_auc_score(labels == c, p[:, c]) for c in columns]),
        "pr_auc": np.mean([sk.average_precision_score(labels == c, p[:, c]) for c in columns]),
        "log_loss": sk.log_loss(labels, p, labels=range(k)),
        "brier": sk.brier_score_loss(labels, p[:, 1])
        if k == 2
        else ((p - np.eye(k)[labels]) ** 2).sum(1).mean(),
    }


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("grouped", [False, True])
def test_every_metric_equals_scikit_learn_and_lies_in_its_interval(classes: int, grouped: bool) -> None:
    labels, base, better = two_models(np.random.default_rng(classes), 600, classes)
    groups = {"group_ids": tuple(i // 5 for i in range(600))} if grouped else {}
    reading = measure(better, items(labels, classes, **groups), base)
    expected = by_scikit_learn(labels, better.logits_NC)
    for name, value in expected.items():
        assert reading.metrics[name].value == pytest.approx(value, abs=2e-7), name
    assert set(reading.metrics) == {metric.name for metric in INSTRUMENT.metrics}
    for name, found in reading.metrics.items():
        assert found.low <= found.value <= found.high and found.n == 600, name
        assert found.unit == "1" and found.how == "measured"


@pytest.mark.parametrize("classes", [2, 4])
def test_every_comparison_is_of_the_two_values_and_points_the_right_way(classes: int) -> None:
    labels, base, better = two_models(np.random.default_rng(7), 900, classes)
    data = items(labels, classes)
    own, theirs = measure(better, data, base), measure(base, data)
    assert set(own.against_base) == set(own.metrics) - {"flip_rate"}
    assert theirs.against_base == {} and "flip_rate" not in theirs.metrics
    for name, found in own.against_base.items():
        assert (found.base, found.value) == pytest.approx(
            (theirs.metrics[name].value, own.metrics[name].value), abs=1e-9
        ), name
        assert found.effect == pytest.approx(found.value - found.base)
        assert found.low <= found.effect <= found.high
        if not name.startswith("ece"):
            assert found.verdict == "better", name
    back = measure(base, data, better).against_base
    assert back["log_loss"].verdict == back["accuracy"].verdict == back["auc_roc"].verdict == "worse"
    assert back["accuracy"].effect == pytest.approx(-own.against_base["accuracy"].effect)


def test_accuracy_is_judged_as_mcnemar_judges_the_items_where_one_model_alone_is_right() -> None:
    labels = np.zeros(500, dtype=np.int64)

    def model(wrong: set[int]) -> Given:
        return Given(np.array([[-1.0, 1.0] if i in wrong else [1.0, -1.0] for i in range(500)]), NAMES[:2])

    for lost, won in ((3, 30), (11, 19), (20, 20)):
        base, candidate = model(set(range(100, 100 + won))), model(set(range(200, 200 + lost)))
        found = measure(candidate, items(labels, 2), base).against_base["accuracy"]
        p = mcnemar([[450, lost], [won, 0]], exact=False, correction=False).pvalue
        assert found.effect == pytest.approx((won - lost) / 500)
        assert (found.low > 0 or found.high < 0) == (p < 0.05)


def test_pairing_sees_what_two_separate_intervals_cannot() -> None:
    labels, base, _ = two_models(np.random.default_rng(8), 800, 2)
    nearly = Given(base.logits_NC + 0.02 * np.random.default_rng(9).standard_normal((800, 2)), NAMES[:2])
    reading = measure(nearly, items(labels, 2), base)
    for name in ("accuracy", "f1_macro", "auc_roc", "pr_auc", "log_loss", "brier"):
        own, paired = reading.metrics[name], reading.against_base[name]
        assert paired.high - paired.low < 0.4 * (own.high - own.low), name
        assert paired.verdict in ("equivalent", "cannot tell"), name


def test_groups_that_share_their_luck_widen_every_interval() -> None:
    rng = np.random.default_rng(10)
    groups = np.repeat(np.arange(80), 10)
    labels = rng.integers(0, 2, 80)[groups]  # an author writes about one thing
    shared = rng.standard_normal((80, 2))[groups]
    logits = (np.eye(2)[labels] + shared).astype(np.float32)
    plain = measure(Given(logits, NAMES[:2]), items(labels, 2))
    grouped = measure(Given(logits, NAMES[:2]), items(labels, 2, group_ids=tuple(groups.tolist())))
    for name in ("accuracy", "f1_macro", "mcc", "auc_roc", "pr_auc", "log_loss", "brier"):
        alone, together = plain.metrics[name], grouped.metrics[name]
        assert together.value == alone.value
        assert together.high - together.low > 1.3 * (alone.high - alone.low), name


def test_a_class_without_items_leaves_out_what_needs_it_and_says_so() -> None:
    labels, base, better = two_models(np.random.default_rng(11), 300, 4)
    labels[labels == 3] = 0
    reading = measure(better, items(labels, 4), base)
    assert not {"auc_roc", "pr_auc"} & (set(reading.metrics) | set(reading.against_base))
    (why,) = reading.warnings
    assert "dog" in why.en and "dog" in why.zh
    expected = by_scikit_learn_without_ranks(labels, better.logits_NC)
    for name, value in expected.items():
        assert reading.metrics[name].value == pytest.approx(value, abs=2e-7), name
    assert "dog" in reading.details["per_class"]  # it is still predicted


def by_scikit_learn_without_ranks(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    predicted = logits.argmax(1)
    return {
        "accuracy": sk.accuracy_score(labels, predicted),
        "f1_macro": sk.f1_score(labels, predicted, average="macro", zero_division=0),
        "mcc": sk.matthews_corrcoef(labels, predicted),
        "log_loss": sk.log_loss(labels, softmax(logits.astype(float), axis=1), labels=range(4)),
    }


def test_a_model_that_orders_its_classes_in_another_way_is_judged_by_their_names() -> None:
    labels, base, _ = two_models(np.random.default_rng(12), 200, 4)
    turned = Given(base.logits_NC[:, ::-1], NAMES[::-1])
    more = Given(np.hstack([base.logits_NC, np.full((200, 1), 9.0, np.float32)]), (*NAMES, "eel"))
    data = items(labels, 4)
    values = {name: m.value for name, m in measure(base, data).metrics.items()}
    for model in (turned, more):  # a class that the data do not have is not in the running
        assert {name: m.value for name, m in measure(model, data).metrics.items()} == pytest.approx(values)


def test_a_model_that_lacks_a_class_or_gives_nan_cannot_be_judged() -> None:
    labels, base, _ = two_models(np.random.default_rng(13), 60, 2)
    with pytest.raises(CannotMeasure, match="does not know a class") as caught:
        measure(Given(base.logits_NC, ("LABEL_0", "LABEL_1")), items(labels, 2))
    assert "ant" in caught.value.parts()["got"] and "LABEL_0" in caught.value.parts()["allowed"]
    broken = base.logits_NC.copy()
    broken[17, 1] = np.nan
    with pytest.raises(CannotMeasure, match="not finite") as caught:
        measure(Given(broken, NAMES[:2]), items(labels, 2))
    assert "item 17" in caught.value.parts()["got"]


def test_the_bases_kept_logits_are_used_and_it_is_not_asked_again() -> None:
    labels, base, better = two_models(np.random.default_rng(14), 120, 2)
    data = items(labels, 2)
    kept = measure(base, data).arrays
    asked = base.asked
    paired = measure(better, data, base, base_arrays=kept)
    assert base.asked == asked
    asked_again = measure(better, data, base)
    other_items = measure(better, data, base, base_arrays={"logits": kept["logits"][:5]})
    assert paired.against_base == asked_again.against_base == other_items.against_base
    assert paired.details == asked_again.details == other_items.details


def test_at_most_so_many_items_are_judged_and_always_the_same_ones() -> None:
    labels, base, _ = two_models(np.random.default_rng(15), 500, 2)
    few = replace(PROTOCOL, max_items=100)
    first, again = (measure(base, items(labels, 2), protocol=few) for _ in range(2))
    other = measure(base, items(labels, 2), protocol=replace(few, seed=1))
    assert first.metrics["accuracy"].n == 100 and first.metrics == again.metrics
    assert np.array_equal(first.arrays["logits"], again.arrays["logits"])
    assert not np.array_equal(first.arrays["logits"], other.arrays["logits"])


def test_flips_are_counted_by_hand() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1] * 20)
    base, candidate = (np.where(np.eye(2)[labels] > 0, 1.0, -1.0) for _ in range(2))
    base[:4] *= -1  # wrong on 0 … 3
    candidate[2:9] *= -1  # wrong on 2 … 8: repairs 0 and 1, breaks 4 … 8, keeps 2 and 3 wrong
    reading = measure(Given(candidate, NAMES[:2]), items(labels, 2), Given(base, NAMES[:2]))
    flips = reading.details["flips"]
    assert (flips["count"], flips["lost"], flips["won"]) == (7, 5, 2)
    assert reading.metrics["flip_rate"].value == pytest.approx(7 / 120)
    assert {e["text"].split()[0] for e in flips["examples"]} == {"4", "5", "6", "7", "8"}


def test_what_the_report_draws_equals_scikit_learn() -> None:
    labels, base, better = two_models(np.random.default_rng(16), 400, 4)
    details = measure(better, items(labels, 4), base).details
    assert details["confusion"] == sk.confusion_matrix(labels, better.logits_NC.argmax(1)).tolist()
    p = softmax(better.logits_NC.astype(float), axis=1)
    for curve in details["roc"]:
        column = NAMES.index(curve["class"])
        x, y = np.array(curve["points"]).T
        assert np.trapezoid(y, x) == pytest.approx(sk.roc_auc_score(labels == column, p[:, column]), abs=5e-3)
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert sum(one["n"] for one in details["reliability"]) == 400
    per_class = sk.precision_recall_fscore_support(labels, better.logits_NC.argmax(1))
    for code, name in enumerate(NAMES):
        found = details["per_class"][name]
        values = [found[m]["value"] for m in ("precision", "recall", "f1")]
        assert values == pytest.approx([part[code] for part in per_class[:3]])
        assert found["items"] == per_class[3][code]
    worst = details["worst_examples"]
    assert [e["confidence"] for e in worst] == sorted((e["confidence"] for e in worst), reverse=True)
    assert all(e["true"] != e["predicted"] for e in worst)
    assert json.loads(json.dumps(details)) == details  # JSON values only


def test_slices_are_judged_one_by_one_and_a_loss_in_one_of_them_is_seen() -> None:
    rng = np.random.default_rng(17)
    labels, kind = rng.integers(0, 2, 900), np.resize(["new", "old", "rare"], 900)
    kind[900 - 40 * 3 :] = "new"
    base = np.where(np.eye(2)[labels] > 0, 2.0, -2.0)
    base[rng.random(900) < 0.1] *= -1
    candidate = base.copy()
    hurt = np.flatnonzero((kind == "old") & (rng.random(900) < 0.3))
    candidate[hurt] *= -1
    data = items(labels, 2, slice_columns={"kind": tuple(kind.tolist())})
    details = measure(Given(candidate, NAMES[:2]), data, Given(base, NAMES[:2])).details["slices"]["kind"]
    right = candidate.argmax(1) == labels
    for one in details["slices"]:
        assert one["value"] == pytest.approx(right[kind == one["name"]].mean())
        assert one["n"] == (kind == one["name"]).sum()
    assert details["worst"]["name"] == details["slices"][0]["name"] == "old"
    changes = {one["name"]: one for one in details["changes"]}
    assert details["changes"][0]["name"] == "old" and changes["old"]["verdict"] == "worse"
    before = (base.argmax(1) == labels)[kind == "old"].mean()
    assert changes["old"]["effect"] == pytest.approx(right[kind == "old"].mean() - before)
    held = kind == "old"
    by_tango = paired_proportion_difference((base.argmax(1) == labels)[held], right[held], level=1 - 0.05 / 3)
    assert (changes["old"]["low"], changes["old"]["high"]) == pytest.approx((by_tango.low, by_tango.high))
    assert changes["new"]["effect"] == 0 and changes["new"]["verdict"] != "worse"


def test_the_noise_floor_is_measured_on_the_base_alone() -> None:
    labels, base, better = two_models(np.random.default_rng(18), 80, 2)
    data = items(labels, 2)
    floor = measure(base, data).details["noise_floor"]
    assert floor == {"items": 32, "max_abs_logit_change": 0.0, "label_flips": 0}
    assert "noise_floor" not in measure(better, data, base).details


def test_it_refuses_language_models_and_data_without_labels_with_a_reason() -> None:
    labels, base, _ = two_models(np.random.default_rng(19), 20, 2)
    assert INSTRUMENT.supports(Workbench(base, None, (items(labels, 2),), PROTOCOL))
    for bench in (
        Workbench(replace(base, task="causal-lm"), None, (items(labels, 2),), PROTOCOL),
        Workbench(base, None, (), PROTOCOL),
    ):
        no = INSTRUMENT.supports(bench)
        assert not no and no.reason.en and no.reason.zh
