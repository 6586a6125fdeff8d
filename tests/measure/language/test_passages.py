import numpy as np
import pytest

from tiku.data.prose import Prose
from tiku.measure.language.passages import Windows, draw_passages
from tiku.measure.language.perplexity import FEWEST_DOCUMENTS, score_passages

from .models import VOCABULARY, llama, session
from .words import byte_level, prose


@pytest.mark.parametrize("start", [(), (1,)])
@pytest.mark.parametrize("context,stride", [(8, 8), (8, 4), (8, 3), (8, 1), (64, 32)])
def test_windows_predict_each_token_once_and_feed_no_more_than_the_context(start, context, stride):
    tokens = tuple(range(10, 47))
    requests = Windows(context, stride, start).over(tokens)
    predicted = [token for request in requests for token in request.continuation]
    assert predicted == list(tokens if start else tokens[1:])
    assert all(len(request.sequence) - 1 <= context for request in requests)
    whole = start + tokens
    for request in requests:  # what stands in a window is a run of the text
        at = whole.index(request.continuation[0])
        assert whole[at - len(request.context) : at + len(request.continuation)] == request.sequence


def test_later_windows_see_at_least_the_context_less_the_stride():
    requests = Windows(context=8, stride=3, start=(1,)).over(tuple(range(10, 47)))
    assert len(requests[0].continuation) == 8
    assert all(len(request.context) >= 8 - 3 + 1 for request in requests[1:])
    assert all(len(request.sequence) - 1 == 8 for request in requests)


def test_sliding_perplexity_equals_a_plain_loop_over_the_windows():
    """The loop stands here in full: one window at a time, no cache, each token's own log-softmax."""
    import torch

    module, tokens = llama(), [int(t) for t in np.random.default_rng(0).integers(2, VOCABULARY, 90)]
    context, stride, bos = 32, 16, 1
    sequence = [bos, *tokens]
    nats, done = [], 1
    while done < len(sequence):
        end = min(len(sequence), context + 1 if done == 1 else done + stride)
        window = sequence[max(0, end - 1 - context) : end]
        with torch.inference_mode():
            logits = module(input_ids=torch.tensor([window]), use_cache=False).logits[0].double()
        table = torch.log_softmax(logits, dim=-1)
        fresh = end - done
        nats += [-float(table[i - 1, window[i]]) for i in range(len(window) - fresh, len(window))]
        done = end
    passage = _passage_of(tokens)
    for path in ("packed", "plain"):
        found = score_passages(session(module), [passage], Windows(context, stride, (bos,)), path=path)
        assert found.nats[0] == pytest.approx(nats, abs=1e-4)


def _passage_of(tokens):
    from tiku.measure.language.passages import Passage

    return Passage("one", "x" * len(tokens), tuple(tokens), len(tokens))


def test_documents_give_the_same_number_of_tokens_within_the_budget():
    tokenizer, windows = byte_level(), Windows(context=32, stride=16, start=(0,))
    passages = draw_passages(tokenizer, prose(12, words=300), windows, budget=12 * 64, seed=0)
    assert len(passages) == 12
    assert all(48 < len(passage.tokens) <= 64 for passage in passages)


def test_many_documents_give_one_context_each_until_the_budget_is_spent():
    tokenizer, windows = byte_level(), Windows(context=32, stride=16, start=(0,))
    data = prose(200, words=300)
    passages = draw_passages(tokenizer, data, windows, budget=320, seed=0)
    assert len(passages) == 10 and all(24 < len(passage.tokens) <= 32 for passage in passages)
    again = draw_passages(tokenizer, data, windows, budget=320, seed=0)
    other = draw_passages(tokenizer, data, windows, budget=320, seed=1)
    assert passages == again and passages != other


def test_long_documents_are_read_no_further_than_is_needed():
    class Counting:
        """Counts the characters it tokenises."""

        def __init__(self):
            self.inner, self.read = byte_level(), 0

        def __call__(self, text, **options):
            self.read += len(text)
            return self.inner(text, **options)

        def decode(self, *given, **options):
            return self.inner.decode(*given, **options)

    tokenizer, windows = Counting(), Windows(context=32, stride=16, start=(0,))
    data = prose(30, words=20_000)
    many = draw_passages(tokenizer, data, windows, budget=320, seed=0)
    assert len(many) == 10 and tokenizer.read < 20_000 < data.characters() // 100
    tokenizer.read = 0
    few = draw_passages(tokenizer, data.take([0, 1]), windows, budget=2_000, seed=0)
    assert len(few) == 2 and all(900 < len(passage.tokens) <= 1_000 for passage in few)
    assert tokenizer.read < 60_000


def test_short_documents_stay_whole():
    tokenizer, windows = byte_level(), Windows(context=64, stride=32, start=(0,))
    data = prose(6, words=5)
    passages = draw_passages(tokenizer, data, windows, budget=10_000, seed=0)
    assert tuple(passage.text for passage in passages) == data.documents


def test_the_tokens_of_a_passage_are_those_of_its_text_and_its_bytes_are_counted():
    tokenizer, windows = byte_level(), Windows(context=32, stride=16, start=(0,))
    data = Prose("made", ("水流向下 " * 60 + "the end", "ice melts " * 60), ("a", "b"))
    for passage in draw_passages(tokenizer, data, windows, budget=64, seed=0):
        assert list(passage.tokens) == tokenizer(passage.text)["input_ids"]
        assert passage.scored_bytes == len(passage.text.encode())
        assert data.documents[data.titles.index(passage.title)].startswith(passage.text)
        assert passage.text.rstrip().endswith(("水流向下", "ice", "melts"))  # a word's end


def test_without_a_start_token_the_first_token_is_not_predicted_and_its_bytes_do_not_count():
    tokenizer, windows = byte_level(), Windows(context=32, stride=16, start=())
    (passage,) = draw_passages(tokenizer, prose(1, words=8), windows, budget=64, seed=0)
    first = len(tokenizer.decode([passage.tokens[0]]))
    assert passage.scored_bytes == len(passage.text) - first
    found = score_passages(session(llama(vocab=len(tokenizer))), [passage], windows)
    assert found.nats[0].size == len(passage.tokens) - 1


def _units(count, words, titles=None, budget=4_000):
    tokenizer, windows = byte_level(), Windows(context=64, stride=32, start=(0,))
    passages = draw_passages(tokenizer, prose(count, words, titles=titles), windows, budget=budget, seed=0)
    scored = score_passages(session(llama(vocab=len(tokenizer))), passages, windows)
    return scored, scored.units(tokenizer)


def test_documents_are_the_units_where_there_are_enough():
    scored, units = _units(FEWEST_DOCUMENTS, words=40)
    assert units.kind == "documents" and units.groups_U is None
    assert units.nats_U == pytest.approx([nats.sum() for nats in scored.nats])


def test_documents_of_one_title_form_a_group():
    titles = ("a", "a", "b", "c", "d", "e")
    _, units = _units(6, words=40, titles=titles)
    assert units.groups_U.tolist() == [0, 0, 1, 2, 3, 4]


def test_one_document_is_cut_into_blocks_that_add_up_to_it():
    scored, units = _units(1, words=900, budget=2_000)
    assert units.kind == "blocks" and len(units.nats_U) >= 10
    assert units.nats_U.sum() == pytest.approx(scored.nats[0].sum())
    assert units.tokens_U.sum() == scored.nats[0].size and units.tokens_U.min() >= 60
    assert units.bytes_U.sum() == scored.passages[0].scored_bytes


def test_a_text_too_short_for_two_blocks_is_one_unit():
    _, units = _units(1, words=20)
    assert len(units.nats_U) == 1


def test_blocks_cover_though_neighbouring_tokens_depend_on_each_other():
    """Nats of tokens that follow an AR(1) process; the interval is over blocks of the one text."""
    from tiku.measure.language.perplexity import ScoredText
    from tiku.measure.language.scoring import Scores
    from tiku.measure.stats import perplexity

    tokenizer, rng, hits = byte_level(), np.random.default_rng(0), 0
    for _ in range(400):
        noise = rng.normal(0, 1, 4_000)
        for t in range(1, noise.size):
            noise[t] += 0.8 * noise[t - 1]
        nats = 4.0 + 0.3 * noise
        scores = Scores(-nats, np.zeros(nats.size, bool), np.array([nats.size]), "plain", 0.0, 1)
        passage = _passage_of([2] * nats.size)
        units = ScoredText([passage], [nats], [], [], scores).units(tokenizer)
        found = perplexity(units.nats_U, units.tokens_U)
        hits += found.low <= np.exp(4.0) <= found.high
    assert 0.92 <= hits / 400 <= 0.98
