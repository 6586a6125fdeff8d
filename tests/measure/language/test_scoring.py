import numpy as np
import pytest
import torch

from tiku.core.errors import CannotMeasure
from tiku.measure.language.packing import pack, shared_prefix
from tiku.measure.language.requests import Request
from tiku.measure.language.scoring import score

from .models import MAKERS, VOCABULARY, families_of_requests, llama, mistral, plain_loop, session


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("path", ["packed", "cached", "plain"])
@pytest.mark.parametrize("prefix", [0, 24])
def test_every_way_of_scoring_equals_a_plain_uncached_loop(make, path, prefix):
    module, requests = make(), families_of_requests(seed=prefix, prefix=prefix)
    expected, greedy = plain_loop(module, requests)
    found = score(session(module), requests, path=path)
    assert found.path == path
    assert np.abs(found.log_likelihoods - expected).max() < 1e-4
    assert (found.greedy == greedy).all()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("path", ["packed", "plain"])
def test_scores_do_not_depend_on_how_much_goes_into_a_pass(make, path):
    module, requests = make(), families_of_requests(seed=5, prefix=16, contexts=9)
    expected, _ = plain_loop(module, requests)
    for budget in (1, 30, 64, 4096):
        found = score(session(module), requests, path=path, tokens_per_pass=budget)
        assert np.abs(found.log_likelihoods - expected).max() < 1e-4


def test_scores_do_not_depend_on_the_order_of_the_requests():
    module, requests = llama(), families_of_requests(seed=2, prefix=12)
    straight = score(session(module), requests, tokens_per_pass=40).log_likelihoods
    backwards = score(session(module), requests[::-1], tokens_per_pass=40).log_likelihoods
    assert (straight == backwards[::-1]).all()


def test_greedy_marks_what_the_model_itself_would_say():
    module = llama()
    context = (3, 1, 4, 1, 5)
    with torch.inference_mode():
        said = module.generate(torch.tensor([context]), max_new_tokens=4, do_sample=False, eos_token_id=None)
    own = tuple(said[0, len(context) :].tolist())
    turned = (*own[:-1], (own[-1] + 1) % VOCABULARY)
    found = score(session(module), [Request(context, own), Request(context, turned)])
    assert found.greedy.tolist() == [True, False]


def test_a_model_of_equal_logits_gives_each_token_one_part_of_the_vocabulary():
    module = llama()
    module.lm_head.weight.data.zero_()
    found = score(session(module), families_of_requests(seed=1, prefix=10))
    assert found.token_nats_S == pytest.approx(-np.log(VOCABULARY))
    assert found.log_likelihoods == pytest.approx(-np.log(VOCABULARY) * found.lengths_N)


def test_repeated_requests_and_requests_that_begin_as_others_end_are_told_apart():
    requests = [
        Request((1, 2), (3, 4)),
        Request((1, 2), (3, 4)),
        Request((1, 2, 3), (4,)),
        Request((1,), (2,)),
    ]
    module = llama()
    expected, _ = plain_loop(module, requests)
    assert score(session(module), requests, path="packed").log_likelihoods == pytest.approx(
        expected, abs=1e-4
    )


def test_sliding_window_models_are_not_packed_and_the_reason_is_kept():
    module, requests = mistral(window=8), families_of_requests(seed=3, prefix=16)
    found = score(session(module), requests)
    assert found.path != "packed" and "sliding" in found.fallbacks[0]
    expected, _ = plain_loop(module, requests)
    assert np.abs(found.log_likelihoods - expected).max() < 1e-4


def test_a_window_wider_than_every_request_does_not_hinder_packing():
    module, requests = mistral(window=200), families_of_requests(seed=3, prefix=16)
    found = score(session(module), requests)
    assert found.path == "packed"
    expected, _ = plain_loop(module, requests)
    assert np.abs(found.log_likelihoods - expected).max() < 1e-4


class _Leaky(torch.nn.Module):
    """Takes every argument of a packed row and ignores the mask: each token sees all before it."""

    def __init__(self, module):
        super().__init__()
        self.inner, self.config = module, module.config

    @property
    def device(self):
        return self.inner.device

    @property
    def dtype(self):
        return self.inner.dtype

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None,
                logits_to_keep=0, use_cache=False):  # fmt: skip
        return self.inner(
            input_ids=input_ids, past_key_values=past_key_values, logits_to_keep=logits_to_keep,
            use_cache=use_cache,
        )  # fmt: skip


def test_a_module_that_ignores_the_mask_is_caught_by_the_probes():
    module, requests = llama(), families_of_requests(seed=4, prefix=12)
    found = score(session(_Leaky(module)), requests)
    assert found.path == "cached" and "differs from the plain way" in found.fallbacks[0]
    expected, _ = plain_loop(module, requests)
    assert np.abs(found.log_likelihoods - expected).max() < 1e-4


def test_recurrent_models_fall_back_with_a_reason():
    module = llama()
    module._is_stateful = True
    found = score(session(module), families_of_requests(seed=4, prefix=12))
    assert found.path == "cached" and "recurrent" in found.fallbacks[0]


def test_other_runtimes_are_scored_through_their_own_session():
    own = session(llama())
    own.runtime = "torch-compile"
    found = score(own, families_of_requests(seed=4, prefix=12))
    assert found.path == "cached" and "torch-compile" in found.fallbacks[0]


def test_a_session_without_a_cache_is_scored_plainly():
    module, requests = mistral(window=8), families_of_requests(seed=3, prefix=16)
    module.config.use_cache = False
    found = score(session(module), requests)
    assert found.path == "plain" and len(found.fallbacks) == 2
    assert found.noise_floor < 1e-4


def test_logits_that_are_not_finite_are_no_measurement():
    module = llama()
    module.lm_head.weight.data[7] = float("nan")
    with pytest.raises(CannotMeasure, match="log-likelihoods"):
        score(session(module), families_of_requests(seed=1, prefix=10))


def test_the_noise_floor_is_the_difference_that_batching_made():
    module, requests = llama(), families_of_requests(seed=6, prefix=16)
    found = score(session(module), requests, probes=100)
    alone = score(session(module), requests, path="plain", tokens_per_pass=1).log_likelihoods
    away = np.sort(np.abs(found.log_likelihoods - alone))
    assert found.probes == len(requests) - 1  # the first of a row is never disturbed by others
    assert pytest.approx(found.noise_floor, rel=1e-6) in away[-2:].tolist() and found.noise_floor < 1e-4


def test_no_requests_give_no_scores():
    found = score(session(llama()), [])
    assert found.log_likelihoods.size == 0 and found.greedy.size == 0


def test_packing_feeds_a_shared_beginning_once_and_never_the_last_token():
    context = tuple(range(20))
    requests = [
        Request((*context, 30), (40, 41)),
        Request((*context, 30), (50,)),
        Request((*context, 31), (60,)),
    ]
    shared = shared_prefix(requests)
    assert shared == 20
    (one,) = pack(requests, shared, budget=100)
    assert sorted(one.tokens_T.tolist()) == [30, 31, 40]
    assert sorted(one.targets_S.tolist()) == [40, 41, 50, 60]


def test_a_node_sees_its_own_ancestors_only():
    requests = [Request((1, 2), (3, 4)), Request((1, 5), (6,))]
    (one,) = pack(requests, 0, budget=100)
    tokens = one.tokens_T.tolist()
    seen = {t: {tokens[j] for j in np.flatnonzero(one.sees_TT[i])} for i, t in enumerate(tokens)}
    assert seen == {1: {1}, 2: {1, 2}, 3: {1, 2, 3}, 5: {1, 5}}
    assert dict(zip(tokens, one.depth_T.tolist(), strict=True)) == {1: 0, 2: 1, 3: 2, 5: 1}


def test_packs_keep_to_their_budget_except_for_one_request_that_is_longer():
    requests = families_of_requests(seed=8, prefix=0, contexts=12)
    packs = pack(requests, 0, budget=40)
    assert len(packs) > 1 and all(len(p.tokens_T) <= 40 for p in packs)
    slots = np.concatenate([p.slots_S for p in packs])
    assert sorted(slots.tolist()) == list(range(sum(len(r.continuation) for r in requests)))
    (long,) = pack([Request(tuple(range(50)), (1,))], 0, budget=8)
    assert len(long.tokens_T) == 50 and long.sees_TT is None


def test_shared_prefix_leaves_every_context_a_token_of_its_own():
    same = tuple(range(30))
    assert shared_prefix([Request(same, (1,)), Request(same, (2,))]) == 29
    assert shared_prefix([Request(same, (1,))]) == 0
    assert shared_prefix([Request((1, 2, 3), (4,)), Request((1, 2, 3, 5), (4,))]) == 0
