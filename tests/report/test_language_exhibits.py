"""What the report draws of a language model, from details that the instruments really left."""

import json

import pytest

from tests.measure.instruments.bench import bench_of, opened, questions
from tests.measure.language.models import llama
from tests.measure.language.words import byte_level, prose
from tiku.core.hashing import canonical
from tiku.measure.instruments import multiple_choice, perplexity
from tiku.report.plots import language, quality
from tiku.report.plots.figure import Look


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    """Of base and candidate, by instrument, as they come out of result.json."""
    folder = tmp_path_factory.mktemp("models")
    base, other = opened(folder / "a"), opened(folder / "b", llama(vocab=len(byte_level()), seed=5))
    found = {}
    for module, data in ((perplexity, prose(6, 150)), (multiple_choice, questions(60))):
        first = module.INSTRUMENT.measure(bench_of(base, data))
        second = module.INSTRUMENT.measure(bench_of(other, data, base=base, base_arrays=first.arrays))
        theirs, own = (json.loads(json.dumps(canonical(r.details))) for r in (first, second))
        name = module.INSTRUMENT.name
        found[name] = Look("key", 1, own, theirs)
        found[f"{name} of the base"] = Look("key", 0, theirs, theirs)
    return found


def test_context_curve_shows_model_and_base_and_the_base_alone_once(looks):
    both, alone = (language.by_context(looks[name]) for name in ("perplexity", "perplexity of the base"))
    assert [len(plot.keys) for plot in (both, alone)] == [2, 1]
    assert "<svg" in both.svg and "style=" not in both.svg


def test_tables_hold_one_cell_per_column(looks):
    of = {
        "perplexity": (language.documents, language.hardest_passages, language.text_protocol),
        "multiple_choice": (language.choice_protocol, quality.worst_examples, quality.flips),
    }
    for name, readers in of.items():
        for reader in readers:
            table = reader(looks[name])
            assert all(len(row) == len(table.columns) for row in table.rows), reader.__name__
            assert table.rows or reader is quality.flips  # tiny models rarely flip from right to wrong


def test_the_protocol_is_printed_in_full(looks):
    shown = dict(
        (label.en, str(getattr(value, "en", value)))
        for label, value in language.text_protocol(looks["perplexity"]).rows
    )
    assert shown["context, stride"] == "64, 32"
    assert shown["token before each document"] == "<s>"
    assert shown["independent units of the interval"] == "6 documents"
    asked = language.choice_protocol(looks["multiple_choice"])
    assert "Answer:" in asked.note.en


def test_reliability_of_the_choices_is_drawn(looks):
    assert quality.reliability(looks["multiple_choice"]) is not None


def test_documents_stand_beside_the_bases_for_a_candidate_only(looks):
    assert len(language.documents(looks["perplexity"]).columns) == 4
    assert len(language.documents(looks["perplexity of the base"]).columns) == 3


def test_nothing_is_shown_where_the_instrument_left_nothing():
    empty = Look("key", 0, {}, None)
    readers = (
        language.by_context, language.documents, language.hardest_passages, language.text_protocol,
        language.choice_protocol,
    )  # fmt: skip
    assert [reader(empty) for reader in readers] == [None] * len(readers)
