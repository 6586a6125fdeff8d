"""A head that reads the first position: what else is left out, what must stay, and that no answer changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openvino
import openvino.opset13 as ops
import pytest

from tests.models.architectures import logits, texts, write_classifier
from tiku.core import registry
from tiku.runtimes._openvino_first import read_first_only

DRAWN = np.random.default_rng(0)
WIDTH = 8
FAMILY = registry.get("models", "text-classification")


def weight(*shape):
    return ops.constant(DRAWN.normal(size=shape).astype(np.float32))


def numbers(*values):
    return ops.constant(np.array(values, dtype=np.int64))


def linear(x):
    return ops.add(ops.matmul(x, weight(WIDTH, WIDTH), False, True), weight(WIDTH))


def norm(x):
    return ops.multiply(ops.mvn(x, numbers(-1), True, 1e-5, "inside_sqrt"), weight(1, 1, WIDTH))


def heads(x):
    return ops.transpose(ops.reshape(x, numbers(0, 0, 2, -1), True), numbers(0, 2, 1, 3))


def attention(x, causal=False):
    """Two heads, written as one operator where causal, else as products and a softmax under a mask."""
    q, k, v = (heads(linear(x)) for _ in range(3))
    if causal:
        read = ops.scaled_dot_product_attention(q, k, v, causal=True)
    else:
        scores = ops.add(ops.matmul(q, k, False, True), weight(1, 1, 5, 5))
        read = ops.matmul(ops.softmax(scores, -1), v, False, False)
    return linear(ops.reshape(ops.transpose(read, numbers(0, 2, 1, 3)), numbers(0, 0, WIDTH), True))


def block(x, **how):
    middle = norm(ops.add(x, attention(x, **how)))
    return norm(ops.add(middle, linear(ops.gelu(linear(middle), "erf"))))


def first(x):
    return ops.gather(x, ops.constant(np.array(0)), ops.constant(np.array(1)))


def rows_of_products(model):
    """1 for each product with weights that works on one position, -1 for one that works on all."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul" and node.get_input_partial_shape(0).rank.get_length() == 3:
            rows = node.get_input_partial_shape(0)[1]
            found.append(1 if rows.is_static and rows.get_length() == 1 else -1)
    return found


def before_and_after(body, tokens=5):
    """The answers of a graph over (2, tokens, 8) numbers before and after, how many operators changed, and
    the graph."""
    given = ops.parameter(openvino.PartialShape([-1, -1, WIDTH]), np.float32)
    model = openvino.Model([body(given)], [given])
    fed = DRAWN.normal(size=(2, tokens, WIDTH)).astype(np.float32)

    def answer():
        exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        return openvino.compile_model(model, "CPU", exact)([fed])[0]

    before = answer()
    changed = read_first_only(model)
    return before, answer(), changed, model


def test_of_the_last_block_only_keys_and_values_are_made_for_every_position() -> None:
    before, after, changed, model = before_and_after(lambda x: first(block(block(x))))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert changed > 0
    # per block: queries, keys, values, output, and the two of the feed-forward
    assert sorted(rows_of_products(model)[-6:]) == [-1, -1, 1, 1, 1, 1]
    assert rows_of_products(model)[:-6] == [-1] * 6


def test_a_slice_of_one_place_is_such_a_choice_and_the_second_position_is_not() -> None:
    def cut(start, stop):
        return lambda x: ops.slice(linear(x), numbers(start), numbers(stop), numbers(1), numbers(-2))

    before, after, changed, model = before_and_after(cut(0, 1))
    assert changed and rows_of_products(model) == [1]
    np.testing.assert_allclose(after, before, atol=1e-6)
    for start, stop in ((1, 2), (0, 2)):
        assert before_and_after(cut(start, stop))[2] == 0


def test_what_something_else_reads_too_stays_whole() -> None:
    def first_and_mean(x):
        last = block(x)
        return ops.concat([first(last), ops.reduce_mean(last, numbers(1))], -1)

    before, after, changed, model = before_and_after(first_and_mean)
    assert changed == 0 and set(rows_of_products(model)) == {-1}
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: block(x, causal=True),
        lambda x: ops.softmax(x, 1),
        lambda x: ops.mvn(x, numbers(1), True, 1e-5, "inside_sqrt"),
        lambda x: ops.reduce_sum(x, numbers(-2), True),
        lambda x: ops.reshape(x, numbers(0, -1, 4), True),
        lambda x: ops.reshape(x, numbers(-1, 5, WIDTH), False),
        lambda x: ops.transpose(ops.matmul(x, weight(2, 5, 5), True, False), numbers(0, 2, 1)),
        lambda x: ops.matmul(weight(2, 5, 5), x, False, False),
        lambda x: ops.prelu(x, weight(WIDTH)),
    ],
)
def test_positions_that_are_mixed_are_all_computed_before(mixing) -> None:
    before, after, _, model = before_and_after(lambda x: first(mixing(linear(x))))
    assert rows_of_products(model)[0] == -1
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_mask_of_one_row_and_a_mask_of_every_row_are_both_read_at_the_first() -> None:
    for rows in (1, 5):

        def attend(x, rows=rows):
            q, k, v = (heads(linear(x)) for _ in range(3))
            read = ops.scaled_dot_product_attention(q, k, v, weight(2, 1, rows, 5), causal=False)
            return first(ops.reshape(ops.transpose(read, numbers(0, 2, 1, 3)), numbers(0, 0, WIDTH), True))

        before, after, _, model = before_and_after(attend)
        np.testing.assert_allclose(after, before, atol=1e-5)
        assert sorted(rows_of_products(model)) == [-1, -1, 1]


@pytest.mark.parametrize(
    ("kind", "reads_first"), [("distilbert", True), ("roberta", True), ("deberta-v2", True), ("xlnet", False)]
)
def test_architectures_answer_like_their_modules(kind, reads_first, tmp_path) -> None:
    subject = FAMILY.load(str(write_classifier(tmp_path / "model", kind)), cache=tmp_path)
    runtime = registry.get("runtimes", "openvino")
    built = runtime.save(replace(subject, runtime="openvino"), tmp_path / "graph")
    session = runtime.open(tmp_path / "graph", task=subject.task, options={}, threads=1, device="cpu")
    for inputs in (texts(9), ["good"], ["dull", "slow and cold"]):
        own = logits(FAMILY, subject, inputs)
        batch = FAMILY.collate(subject.processor, FAMILY.encode(subject.processor, inputs, None))
        np.testing.assert_allclose(session.run(batch), own, atol=1e-4 * max(1, np.abs(own).max()))
    session.close()
    assert ("first_position_alone" in built) == reads_first
