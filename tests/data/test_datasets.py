"""The datasets themselves: what is picked, hashed, sliced, cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiku.data import LabelledTexts, Prose
from tiku.data.normal import normal, unescaped

ROWS = LabelledTexts(
    "rows", ("aa", "b", "cccc", "ddddd", "eee", "ffffff"), np.asarray([0, 1, 0, 1, 0, 1]), ("no", "yes"),
    pairs=None, group_ids=(1, 1, 2, 2, 3, 3), slice_columns={"source": ("x", "y", "x", "y", "x", "y")},
)  # fmt: skip


class TestLabelledTexts:
    def test_take_keeps_everything_of_an_example_together(self):
        taken = ROWS.take([3, 0])
        assert taken.texts == ("ddddd", "aa") and taken.labels.tolist() == [1, 0]
        assert taken.groups() == (2, 1) and taken.slices()["source"] == ("y", "x")
        assert ROWS.texts[0] == "aa"

    def test_length_slices_are_terciles_of_the_whole_and_mean_the_same_in_a_part(self):
        assert ROWS.slices()["length"] == ["short", "short", "medium", "long", "medium", "long"]
        assert ROWS.take([1, 3, 5]).slices()["length"] == ["short", "long", "long"]

    def test_pairs_are_inputs_of_two_texts(self):
        pairs = LabelledTexts("p", ("a", "b"), np.asarray([0, 1]), ("n", "y"), ("c", "d"))
        assert pairs.inputs() == [("a", "c"), ("b", "d")] and pairs.take([1]).inputs() == [("b", "d")]

    @pytest.mark.parametrize(
        "changed",
        [
            {"texts": ("aa", "b", "cccc", "ddddd", "eee", "fffffg")},
            {"labels": np.asarray([0, 1, 0, 1, 0, 0])},
            {"class_names": ("no", "Yes")}, {"group_ids": None}, {"slice_columns": {}},
            {"pairs": ("", "", "", "", "", "")},
        ],
    )  # fmt: skip
    def test_hash_knows_every_content_and_not_the_name(self, changed):
        from dataclasses import replace

        assert replace(ROWS, name="other").sha256() == ROWS.sha256() != replace(ROWS, **changed).sha256()


class TestProse:
    @given(document=st.text(st.sampled_from("ab .!\n。"), min_size=1, max_size=400), size=st.integers(1, 60))
    def test_pieces_joined_again_are_the_document(self, document, size):
        pieces = Prose("p", (document,), ("t",)).passages(size)
        assert "".join(pieces.documents) == document and set(pieces.titles) == {"t"}
        assert all(pieces.documents) and all(len(piece) <= 2 * size for piece in pieces.documents)
        assert pieces.whole().documents == (document,)

    def test_cuts_fall_after_sentences_where_there_are_some(self):
        text = "One sentence is here. " * 40
        for piece in Prose("p", (text,), ("t",)).passages(60).documents:
            assert piece.endswith(". ")

    def test_titles_do_not_change_the_hash_and_documents_do(self):
        prose = Prose("p", ("a", "b"), ("1", "2"))
        assert Prose("q", ("a", "b"), ("3", "4")).sha256() == prose.sha256()
        assert Prose("p", ("b", "a"), ("1", "2")).sha256() != prose.sha256()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("A  b\n", "a b"),
        ("ＡＢＣ", "abc"),
        ("STRASSE", "straße"),
        ("ﬁlm", "film"),
        ("Ⅳ", "iv"),
        ("\u3000好\u3000", "好"),
    ],
)
def test_texts_that_count_as_the_same(text, same):
    assert normal(text) == normal(same)


def test_texts_that_do_not():
    assert len({normal(t) for t in ("a b", "ab", "a-b", "a b!", "á b")}) == 5


def test_entities_of_html_become_characters_also_when_written_twice():
    assert unescaped(" S&amp;M &amp;amp; R&#183;D &lt;3&nbsp;") == "S&M & R·D <3"
    assert unescaped("fish & chips; AT&T") == "fish & chips; AT&T"
