# ruff: noqa: E501 - one shape a line
"""Multiple choice in the shapes that benchmarks are written in: what is read, asked and right."""

import pytest

from tiku.core.errors import DataError
from tiku.data import Columns
from tiku.data.choices import Choices
from tiku.data.shaping import shape
from tiku.data.table import Table


def _shape(rows, asked=None):
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [row.get(key) for row in rows] for key in keys}
    return shape(Table("q", columns, [f"q:{i + 1}" for i in range(len(rows))]), asked or Columns())


def _said(loaded):
    return "\n".join(guess.en for guess in loaded.report.guesses)


ASKED = "Question: Which is a colour?\nAnswer:"
OPTIONS = ("red", "dog", "two", "run")


@pytest.mark.parametrize(
    "row",
    [
        # MMLU; a file with options; CommonsenseQA and ARC; C-Eval and CMMLU; numbered columns; OpenAI evals
        {"question": "Which is a colour?", "subject": "words", "choices": list(OPTIONS), "answer": 0},
        {"query": " Which is a colour? ", "options": list(OPTIONS), "gold": "A"},
        {"question": "Which is a colour?", "choices": {"text": list(OPTIONS), "label": list("ABCD")}, "answerKey": "A"},
        {"question": "Which is a colour?", "choices": {"text": list(OPTIONS), "label": list("1234")}, "answerKey": "1"},
        {"Question": "Which is a colour?", "A": "red", "B": "dog", "C": "two", "D": "run", "Answer": "A"},
        {"题目": "Which is a colour?", "A": "red", "B": "dog", "C": "two", "D": "run", "答案": "(A)"},
        {"question": "Which is a colour?", "answer0": "red", "answer1": "dog", "answer2": "two", "answer3": "run", "label": 0},
        {"question": "Which is a colour?", "option_a": "red", "option_b": "dog", "option_c": "two", "option_d": "run", "answer": "a"},
        {"question_stem": "Which is a colour?", "choices": list(OPTIONS), "answer": "red"},
        {"question": "Which is a colour?", "options": {"A": "red", "B": "dog", "C": "two", "D": "run"}, "answer_idx": "A"},
        {"input": [{"role": "system", "content": "Answer."}, {"role": "user", "content": "Which is a colour?\nA. red\nB. dog\nC. two\nD. run"}], "ideal": "A"},
        {"question": "Which is a colour?\n(A) red\n(B) dog\n(C) two\n(D) run\nAnswer:", "answer": "A"},
        {"question": "Which is a colour?\nA: red\nB: dog\nC: two\nD: run\n答案：", "answer": ["A"]},
    ],
)  # fmt: skip
def test_shapes_of_questions_give_the_same_question(row):
    choices = _shape([row]).dataset
    assert isinstance(choices, Choices)
    assert (choices.contexts, choices.options, choices.answers) == ((ASKED,), (OPTIONS,), (0,))


@pytest.mark.parametrize(
    ("row", "context", "options", "answer"),
    [
        # HellaSwag, SWAG, PIQA: the context is continued as it stands
        ({"ctx": "She opens the", "endings": ["door.", "sea.", "no.", "if."], "label": "0"}, "She opens the", ("door.", "sea.", "no.", "if."), 0),
        ({"sent1": "She opens the", "ending0": "door.", "ending1": "sea.", "label": 1}, "She opens the", ("door.", "sea."), 1),
        ({"goal": "Boil an egg", "sol1": "in water", "sol2": "in sand", "label": 0}, "Boil an egg", ("in water", "in sand"), 0),
        # WinoGrande: what fills a blank does not continue the sentence
        ({"sentence": "The cup did not fit the bag as _ was big.", "option1": "cup", "option2": "bag", "answer": "1"},
         "Question: The cup did not fit the bag as _ was big.\nAnswer:", ("cup", "bag"), 0),
        # RACE, CosmosQA, COPA: a passage is read first
        ({"article": "Tom has a dog.", "question": "What has Tom?", "options": ["a dog", "a cat"], "answer": "B"},
         "Tom has a dog.\nQuestion: What has Tom?\nAnswer:", ("a dog", "a cat"), 1),
        ({"context": "It rained.", "question": "Why wet?", "answerA": "rain", "answerB": "sun", "answerC": "ice", "label": "3"},
         "It rained.\nQuestion: Why wet?\nAnswer:", ("rain", "sun", "ice"), 2),
    ],
)  # fmt: skip
def test_shapes_of_continuations(row, context, options, answer):
    other = {**row, "label": row["label"]} if "label" in row else row
    choices = _shape([row, other]).dataset
    assert choices.contexts[0] == context and choices.options[0] == options
    # WinoGrande's "1" is the second option unless some other answer is "2"
    expected = answer if row.get("answer") != "1" else 1
    assert choices.answers[0] == expected


class TestAnswersThatCountFromOne:
    ROW = {"sentence": "x is _.", "option1": "a", "option2": "b"}  # noqa: RUF012

    def test_are_found_when_no_answer_is_zero_and_one_is_the_last(self):
        loaded = _shape([{**self.ROW, "answer": a} for a in ("1", "2", "1")])
        assert loaded.dataset.answers == (0, 1, 0)
        assert "the answers count the options from 1" in _said(loaded)

    def test_are_not_assumed_when_one_is_zero(self):
        loaded = _shape([{**self.ROW, "answer": a} for a in (1, 0, 1)])
        assert loaded.dataset.answers == (1, 0, 1) and "from 1" not in _said(loaded)

    def test_lists_of_options_too(self):
        rows = [{"question": "q?", "choices": ["a", "b", "c"], "answer": a} for a in (3, 1, 2)]
        assert _shape(rows).dataset.answers == (2, 0, 1)

    def test_are_not_assumed_when_they_are_the_options_themselves(self):
        rows = [{"question": "1 + 1?", "choices": ["3", "2"], "answer": "2"}] * 2
        assert _shape(rows).dataset.answers == (1, 1)

    def test_a_number_beyond_the_options_is_refused_either_way(self):
        rows = [{"question": "q?", "choices": ["a", "b", "c"], "answer": a} for a in (0, 3)]
        with pytest.raises(DataError, match="none of the options") as caught:
            _shape(rows)
        assert caught.value.got == "q:2: 3"


def test_a_letter_is_a_mark_also_where_options_are_letters():
    assert _shape([{"question": "Which?", "choices": ["B", "A"], "answer": "A"}]).dataset.answers == (0,)


def test_flags_name_the_columns():
    rows = [{"x": "Which?", "y": ["a", "b"], "z": 1, "question": "not this", "answer": 0}]
    choices = _shape(rows, Columns(context="x", options="y", answer="z")).dataset
    assert (choices.contexts, choices.options, choices.answers) == (("Which?",), (("a", "b"),), (1,))


def test_list_items_inside_the_stem_are_no_options():
    stem = "Which hold?\nI. all\nII. none\nA. I only\nB. II only"
    choices = _shape([{"question": stem, "answer": "B"}]).dataset
    assert choices.contexts == ("Question: Which hold?\nI. all\nII. none\nAnswer:",)
    assert choices.options == (("I only", "II only"),) and choices.answers == (1,)


def test_options_of_several_lines_stay_whole():
    choices = _shape([{"question": "Which?\nA. one\ntwo\nB. three\nfour\nAnswer:", "answer": "A"}]).dataset
    assert choices.options == (("one\ntwo", "three\nfour"),)


def test_guess_says_the_columns_and_that_texts_are_compared():
    loaded = _shape([{"passage": "p", "question": "q?", "choices": ["a", "b"], "answer": 0}])
    assert "question question, options choices, passage passage, answer answer" in _said(loaded)
    assert "the options' texts, not their letters" in _said(loaded)
    assert "比较的是选项文本" in loaded.report.guesses[0].zh


def test_parts_and_groups_come_along():
    rows = [
        {"question": f"q{i}?", "choices": ["a", "b"], "answer": i % 2, "split": ["train", "test"][i % 2], "passage_id": i // 2}
        for i in range(8)
    ]  # fmt: skip
    loaded = _shape(rows)
    assert loaded.parts == ("train", "test") * 4
    assert loaded.dataset.groups() == ("0", "0", "1", "1", "2", "2", "3", "3")


def test_questions_serve_language_models_alone():
    table = Table("q", {"question": ["q?"], "choices": [["a", "b"]], "answer": [0]}, ["q:1"])
    assert shape(table, Columns(), "causal-lm").dataset.kind == "choices"
    with pytest.raises(DataError):
        shape(table, Columns(), "text-classification")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"question": "q?", "choices": ["a"], "answer": 0}, "fewer than two options"),
        ({"question": "q?", "choices": "a, b", "answer": 0}, "not a list"),
        ({"question": "q?", "choices": ["a", ""], "answer": 0}, "option is empty"),
        ({"question": "q?", "choices": ["a", 3], "answer": 0}, "option is not text"),
        ({"question": "q?", "choices": ["a", "a", "b"], "answer": 1}, "stands among the options twice"),
        ({"question": "q?", "choices": ["a", "b"], "answer": None}, "answer is missing"),
        ({"question": "q?", "choices": ["a", "b"], "answer": True}, "answer is missing"),
        ({"question": "q?", "choices": ["a", "b"], "answer": "C"}, "none of the options"),
        ({"question": "q?", "choices": ["a", "b"], "answer": [0, 1]}, "answer is missing"),
        ({"question": "", "choices": ["a", "b"], "answer": 0}, "question is empty"),
        ({"question": None, "choices": ["a", "b"], "answer": 0}, "question is not text"),
        ({"question": "q?", "choices": ["a", "b"]}, "column of the multiple-choice questions is missing"),
        ({"input": "text", "ideal": "A"}, "not a list of messages"),
        ({"input": [{"role": "user", "content": "no options"}], "ideal": "A"}, "no option lines"),
        ({"input": [{"role": "user"}], "ideal": "A"}, "question is not text"),
    ],
)
def test_rows_that_cannot_be_asked_are_refused_with_their_place(row, what):
    with pytest.raises(DataError, match=what) as caught:
        _shape([row])
    assert caught.value.next_step


class TestDataset:
    CHOICES = Choices("q", ("One?", "Two?"), (("a", "b"), ("c", "D")), (1, 0), ("g", "h"))

    def test_take_keeps_the_order_asked_for(self):
        turned = self.CHOICES.take([1, 0, 1])
        assert turned.contexts == ("Two?", "One?", "Two?") and turned.answers == (0, 1, 0)
        assert turned.groups() == ("h", "g", "h")

    def test_hash_knows_contents_and_not_the_name(self):
        again = Choices(
            "other", *(getattr(self.CHOICES, f) for f in ("contexts", "options", "answers", "group_ids"))
        )
        changed = Choices("q", ("One?", "Two?"), (("a", "b"), ("c", "D")), (0, 0), ("g", "h"))
        assert again.sha256() == self.CHOICES.sha256() != changed.sha256()
