"""A session that stops after the first layers, against a model that has no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.measure.language.models import MAKERS, VOCABULARY, mistral, session
from tiku.core.errors import CannotMeasure
from tiku.runtimes._early_exit import first_layers

TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, size=(1, 20))
EVERY = {**MAKERS, "mistral": lambda: mistral(window=6)}


def _only_first(module: torch.nn.Module) -> torch.nn.Module:
    """A model of its own class with one layer, given the weights of the first."""
    config = type(module.config)(**{**module.config.to_dict(), "num_hidden_layers": 1, "layer_types": None})
    small = type(module)(config).eval()
    own = small.state_dict()
    small.load_state_dict({name: module.state_dict()[name] for name in own})
    return small


@pytest.mark.parametrize("name", EVERY)
def test_early_exit_is_the_model_that_has_only_those_layers(name: str) -> None:
    module = EVERY[name]()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    whole = session(module)
    logits = whole.run({"input_ids": TOKENS})
    early = whole.early_exit(1)
    expected = session(_only_first(module)).run({"input_ids": TOKENS})
    np.testing.assert_allclose(early.run({"input_ids": TOKENS}), expected, atol=1e-5)
    cache, rows = None, []
    for at in (0, 7, 8):
        made, cache = early.extend(TOKENS[:, at : {0: 7, 7: 8, 8: 20}[at]], cache)
        rows.append(made)
    np.testing.assert_allclose(np.concatenate(rows, axis=1), expected, atol=1e-3)
    assert len(cache.layers) == 1
    np.testing.assert_array_equal(whole.run({"input_ids": TOKENS}), logits)  # the model is as it was
    assert module.config.num_hidden_layers == 2
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_weights_are_shared_and_not_copied() -> None:
    module = MAKERS["llama"]()
    own = {parameter.data_ptr() for parameter in module.parameters()}
    assert {parameter.data_ptr() for parameter in first_layers(module, 1).parameters()} < own


@pytest.mark.parametrize("count", [0, 3])
def test_more_layers_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(CannotMeasure, match="cannot stop after its first layers"):
        first_layers(MAKERS["llama"](), count)
