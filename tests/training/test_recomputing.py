"""Recomputed activations give the gradients of kept ones, dropout included, and less is kept."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from tests.measure.language.models import MAKERS
from tests.training.cases import Bag, context, texts, tiny_subject, weight_hash
from tiku.training import TrainOptions, train
from tiku.training.recomputing import recomputing, repeated_blocks


def _bert(layers: int = 6) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3,
    )  # fmt: skip
    return BertForSequenceClassification(config).train()


class _Kept(torch.autograd.graph.saved_tensors_hooks):
    """Bytes that the forward pass keeps for the backward pass, each storage once."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor


def _gradients(module: Any, inputs: dict[str, torch.Tensor], on: bool) -> list[torch.Tensor]:
    module.zero_grad()
    torch.manual_seed(7)
    with recomputing(module, on=on):
        logits = module(**inputs).logits
        logits.float().square().sum().backward()
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


@pytest.mark.parametrize("make", [_bert, *MAKERS.values()], ids=["bert", *MAKERS])
def test_gradients_are_those_of_the_plain_pass_with_dropout(make: Any) -> None:
    module = make().train()
    ids = torch.randint(1, 40, (3, 11), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    plain, recomputed = _gradients(module, inputs, False), _gradients(module, inputs, True)
    assert len(plain) == len(recomputed) > 5
    for a, b in zip(plain, recomputed, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6 * float(a.abs().max() + 1), rtol=1e-6)


def test_dropout_is_at_work_in_that_comparison() -> None:
    module, ids = _bert(), torch.arange(1, 12)[None]
    with_dropout = _gradients(module, {"input_ids": ids}, True)
    without = _gradients(module.eval(), {"input_ids": ids}, True)
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(with_dropout, without, strict=True))


def test_what_is_kept_no_longer_grows_with_everything_a_block_does() -> None:
    module, ids = _bert(layers=6), torch.ones(4, 32, dtype=torch.long)
    kept = {}
    for on in (False, True):
        with recomputing(module, on=on), (watch := _Kept()):
            module(input_ids=ids)
        kept[on] = sum(watch.storages.values())
    weights = sum(p.nbytes for p in module.parameters())
    assert kept[True] < 0.4 * kept[False] and kept[False] > weights


def test_module_is_as_before_when_the_block_ends() -> None:
    module = _bert()
    before = dict(vars(module.bert.encoder.layer[0]))
    with recomputing(module) as count, pytest.raises(ZeroDivisionError):
        assert count == 6 == len(repeated_blocks(module))
        raise ZeroDivisionError
    assert vars(module.bert.encoder.layer[0]).keys() == before.keys()
    assert repeated_blocks(Bag()) == []
    copy.deepcopy(module)


def test_trained_weights_are_the_same_and_the_curve_says_how(tmp_path: Path) -> None:
    subject = tiny_subject(tmp_path / "m")
    hashes = []
    for name, on in (("a", False), ("b", True)):
        options = TrainOptions(
            epochs=1, min_steps=0, batch_tokens=128, precision="fp32", checkpoint_activations=on
        )
        (tmp_path / name).mkdir()
        trained = train(subject, texts(60), None, options, context(tmp_path / name))
        assert trained.facts["learning_curve"]["checkpoint_activations"] is on
        hashes.append(weight_hash(trained.module))
    assert hashes[0] == hashes[1]
