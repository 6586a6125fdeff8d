"""Which column is what: guesses and why, and the flags that overrule them."""

import pytest

from tiku.core.errors import DataError
from tiku.data import Columns
from tiku.data.shaping import shape
from tiku.data.table import Table

LONG = [f"a rather long text with number {i}" for i in range(30)]
SHORT = [f"t{i}" for i in range(30)]
TWO = [i % 2 for i in range(30)]
THREE = ["abc"[i % 3] for i in range(30)]


def _shape(columns, asked=None, task=None):
    where = [f"rows:{i + 1}" for i in range(len(next(iter(columns.values()))))]
    return shape(Table("rows", columns, where), asked or Columns(), task)


def _guesses(loaded):
    return "\n".join(guess.en for guess in loaded.report.guesses)


class TestGuesses:
    @pytest.mark.parametrize(
        "name", ["text", "Sentence", "REVIEW", "content", "tweet", "headline", "文本", "评论"]
    )
    @pytest.mark.parametrize("label", ["label", "Sentiment", "target", "CATEGORY", "标签"])
    def test_usual_names_are_found_in_any_case(self, name, label):
        loaded = _shape({"notes": LONG, "flag": TWO, name: SHORT, label: THREE})
        assert loaded.dataset.texts == tuple(SHORT) and loaded.dataset.class_names == ("a", "b", "c")
        assert f'"{name}" is taken as the text, because of its name' in _guesses(loaded)
        assert f'"{label}" is taken as the label, because of its name' in _guesses(loaded)

    def test_else_the_longest_texts_and_the_few_values(self):
        loaded = _shape({"v1": THREE, "v2": LONG, "v3": SHORT})
        assert loaded.dataset.texts == tuple(LONG) and loaded.dataset.class_names == ("a", "b", "c")
        assert '"v2" is taken as the text, because it holds the longest texts' in _guesses(loaded)
        assert '"v1" is taken as the label, because it has only 3 distinct values' in _guesses(loaded)

    def test_ratings_as_whole_floats_are_few_values(self):
        loaded = _shape({"text": LONG, "stars": [float(1 + i % 5) for i in range(30)]})
        assert loaded.dataset.class_names == ("1", "2", "3", "4", "5")

    def test_classes_are_listed_in_both_languages(self):
        guess = _shape({"text": LONG, "label": THREE}).report.guesses[-1]
        assert guess.en == "classes: 0 = a, 1 = b, 2 = c" and guess.zh == "类别：0 = a, 1 = b, 2 = c"

    @pytest.mark.parametrize(
        ("first", "second"), [("premise", "hypothesis"), ("sentence1", "Sentence2"), ("question", "passage")]
    )
    def test_pairs_of_texts_are_found_by_their_names(self, first, second):
        loaded = _shape({first: SHORT, second: LONG, "label": TWO})
        assert loaded.dataset.inputs() == list(zip(SHORT, LONG, strict=True))
        assert "taken as a pair of texts" in _guesses(loaded)

    def test_group_column_by_name(self):
        loaded = _shape({"text": LONG, "label": TWO, "group": [i // 3 for i in range(30)]})
        assert loaded.dataset.groups() == tuple(str(i // 3) for i in range(30))
        assert '"group" is taken as the group' in _guesses(loaded)

    def test_split_column_by_name_and_values(self):
        parts = ["train"] * 20 + ["dev"] * 5 + ["test"] * 5
        loaded = _shape({"text": LONG, "label": TWO, "split": parts})
        assert loaded.parts == ("train",) * 20 + ("validation",) * 5 + ("test",) * 5
        assert '"split" is taken as the split' in _guesses(loaded)

    def test_a_split_column_of_other_values_is_no_split(self):
        loaded = _shape({"text": LONG, "label": TWO, "split": THREE})
        assert loaded.parts is None and "taken as the split" not in _guesses(loaded)

    def test_several_possible_labels_are_refused_with_the_flag(self):
        with pytest.raises(DataError, match="several columns could be the label") as caught:
            _shape({"text": LONG, "one": TWO, "two": THREE})
        assert caught.value.got == "one, two" and "--label one" in caught.value.next_step


class TestFlags:
    def test_every_role_can_be_named(self):
        columns = {
            "text": SHORT,
            "label": THREE,
            "a": LONG,
            "b": SHORT,
            "c": TWO,
            "d": THREE,
            "e": ["train"] * 20 + ["test"] * 10,
        }
        asked = Columns(
            text="a",
            text_pair="b",
            label="c",
            group="d",
            split="e",
            slices=("d",),
            label_map={"1": "yes", "0": "no"},
        )
        loaded = _shape(columns, asked)
        rows = loaded.dataset
        assert (rows.texts, rows.pairs) == (tuple(LONG), tuple(SHORT))
        assert rows.class_names == ("yes", "no") and rows.labels.tolist() == [1 - v for v in TWO]
        assert rows.groups() == tuple(THREE) and rows.slices()["d"] == tuple(THREE)
        assert loaded.parts == ("train",) * 20 + ("test",) * 10
        assert "is taken as" not in _guesses(loaded)

    def test_the_split_named_for_running_text_is_honoured(self):
        asked = Columns(split="fold")
        loaded = _shape({"text": LONG, "fold": ["train"] * 25 + ["test"] * 5}, asked, "causal-lm")
        assert loaded.parts == ("train",) * 25 + ("test",) * 5

    def test_the_group_named_for_running_text_is_honoured(self):
        loaded = _shape({"text": LONG, "book": THREE}, Columns(group="book"), "causal-lm")
        assert loaded.dataset.groups() == tuple(THREE)

    @pytest.mark.parametrize(
        ("asked", "got"),
        [
            (Columns(text="txet"), "text=txet"), (Columns(label="lab"), "label=lab"),
            (Columns(group="x"), "group=x"),
            (Columns(split="x"), "split=x"), (Columns(slices=("label", "x")), "slices=x"),
        ],
    )  # fmt: skip
    def test_columns_that_are_not_there_are_refused(self, asked, got):
        with pytest.raises(DataError, match="no column of this name") as caught:
            _shape({"text": LONG, "label": TWO}, asked)
        assert caught.value.got == got and caught.value.allowed == "text, label"

    def test_one_column_for_two_things_is_refused(self):
        with pytest.raises(DataError, match="named for two things"):
            _shape({"text": LONG, "label": TWO}, Columns(text="text", label="text"))

    def test_a_split_without_train_is_refused(self):
        with pytest.raises(DataError, match="does not name splits"):
            _shape({"text": LONG, "label": TWO, "fold": THREE}, Columns(split="fold"))


class TestRunningText:
    def test_labelled_rows_are_text_for_a_language_model(self):
        loaded = _shape({"text": LONG, "label": TWO}, task="causal-lm")
        assert loaded.dataset.documents == tuple(LONG)
        assert "read as running text" in _guesses(loaded)

    def test_titles_of_their_own_are_kept_and_shared_ones_are_not(self):
        own = _shape({"title": SHORT, "text": LONG}, task="causal-lm").dataset
        shared = _shape({"name": ["wiki"] * 30, "text": LONG}, task="causal-lm").dataset
        assert own.titles == tuple(SHORT) and len(set(shared.titles)) == 30

    def test_rows_without_text_are_left_out_and_counted(self):
        texts = [text if i % 3 else (None if i % 2 else "") for i, text in enumerate(LONG)]
        loaded = _shape({"text": texts}, task="causal-lm")
        assert len(loaded.dataset) == 20 and "10 rows without text are left out" in _guesses(loaded)


@pytest.mark.parametrize(
    ("text", "what", "got"),
    [
        (7, "not text", "rows:2 is int"),
        (" \n", "empty", "rows:2"),
        ("a\x00b", "control characters", "rows:2: U+0000 at character 2"),
        ("a\ud83d", "control characters", "U+D83D at character 2"),
        ("x" * 200_001, "too long", "200,001 characters"),
    ],
)
def test_texts_no_model_may_see_are_refused_with_their_row(text, what, got):
    texts = list(LONG)
    texts[1] = text
    with pytest.raises(DataError, match=what) as caught:
        _shape({"text": texts, "label": TWO})
    assert got in caught.value.got
