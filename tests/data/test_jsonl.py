"""JSON Lines, and the other shapes that .json files come in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiku.core.errors import DataError
from tiku.data.readers.jsonl import READER

ROWS = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
VALUE = st.one_of(
    st.text(max_size=20), st.integers(), st.booleans(), st.none(), st.lists(st.text(max_size=5))
)


def _read(folder, content, name="data.jsonl"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return READER.read(path)


@given(
    rows=st.lists(st.fixed_dictionaries({"a": VALUE, "b": VALUE}), min_size=1, max_size=8),
    ascii_=st.booleans(),
)
def test_whatever_the_json_module_writes_is_read_back(rows, ascii_, tmp_path_factory):
    if not ascii_ and any(ord(c) in range(0xD800, 0xE000) for row in rows for c in str(row)):
        return  # a lone surrogate cannot be written as UTF-8
    lines = "\n".join(json.dumps(row, ensure_ascii=ascii_) for row in rows)
    table = _read(tmp_path_factory.mktemp("jsonl"), lines)
    found = zip(*table.columns.values(), strict=True)
    assert [dict(zip(table.columns, row, strict=True)) for row in found] == rows


def test_separators_of_unicode_do_not_end_a_line(tmp_path):
    text = "one\u2028two\x85three\x0bfour"
    table = _read(tmp_path, json.dumps({"text": text}, ensure_ascii=False) + '\n{"text": "b"}\n')
    assert table.columns["text"] == [text, "b"]


def test_keys_that_a_line_lacks_are_none_and_blank_lines_are_skipped(tmp_path):
    table = _read(tmp_path, '\ufeff{"text": "a", "label": 1}\r\n\r\n{"text": "b", "more": 2}\n')
    assert table.columns == {"text": ["a", "b"], "label": [1, None], "more": [None, 2]}
    assert table.where == ["data.jsonl:1", "data.jsonl:3"]


class TestOneValue:
    @pytest.mark.parametrize("indent", [None, 2])
    def test_an_array_of_objects(self, tmp_path, indent):
        table = _read(tmp_path, json.dumps(ROWS, indent=indent), "a.json")
        assert table.columns == {"text": ["a", "b"], "label": [1, 0]} and table.guesses == ()

    @pytest.mark.parametrize("indent", [None, 2])
    def test_an_object_that_holds_the_array_is_said(self, tmp_path, indent):
        whole = {"version": "1.0", "data": ROWS, "languages": ["en"]}
        table = _read(tmp_path, json.dumps(whole, indent=indent), "a.json")
        assert table.columns == {"text": ["a", "b"], "label": [1, 0]}
        assert 'taken from "data"' in table.guesses[0].en

    @pytest.mark.parametrize("orient", ["list", "dict"])
    def test_an_object_of_columns_as_pandas_writes_it_is_said(self, tmp_path, orient):
        import pandas

        frame = pandas.DataFrame(ROWS)
        content = json.dumps(frame.to_dict(orient="list")) if orient == "list" else frame.to_json()
        table = _read(tmp_path, content, "a.json")
        assert table.columns == {"text": ["a", "b"], "label": [1, 0]}
        assert "every key is a column" in table.guesses[0].en

    def test_one_object_per_line_is_still_that(self, tmp_path):
        lines = "\n".join(map(json.dumps, ROWS))
        assert _read(tmp_path, lines, "a.json").columns == {"text": ["a", "b"], "label": [1, 0]}

    def test_a_single_row_is_a_row(self, tmp_path):
        assert len(_read(tmp_path, json.dumps(ROWS[0], indent=1), "a.json")) == 1


@pytest.mark.parametrize(
    ("content", "name", "got"),
    [
        ('{"text": "a"}\n{"text": \n', "a.jsonl", "line 2"),
        ('{"text": "a"}\n["a"]\n', "a.jsonl", "a.jsonl:2"),
        ('{"text": "a"}\n3\n', "a.jsonl", "a.jsonl:2"),
        ('{"text": "a", "text": "b"}\n', "a.jsonl", "line 1"),
        ('[{"text": "a"},\n {"text": }]', "a.json", "line 2, character 11"),
        ("[]", "a.json", "a"),
        ('["a", "b"]', "a.json", "a.json:item 1"),
    ],
)
def test_what_is_no_object_is_refused_with_its_place(tmp_path, content, name, got):
    with pytest.raises(DataError) as caught:
        _read(tmp_path, content, name)
    assert got in caught.value.got and caught.value.next_step
