"""CSV and TSV: what the csv module and pandas write, and what spreadsheets make of it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiku.core.errors import DataError
from tiku.data.readers.delimited import READER

FIELD = st.text(
    st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"]), min_size=0, max_size=20
)


def _read(folder, content, name="data.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return READER.read(path)


def _rows(table):
    return list(zip(*table.columns.values(), strict=True))


@given(
    rows=st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=8), delimiter=st.sampled_from(",;|")
)
def test_whatever_the_csv_module_writes_is_read_back(rows, delimiter, tmp_path_factory):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("first", "second", "third"), *rows])
    table = _read(tmp_path_factory.mktemp("csv"), buffer.getvalue())
    assert _rows(table) == rows


def test_pandas_files_are_read_back_in_both_kinds(tmp_path):
    import pandas

    frame = pandas.DataFrame({"text": ['a "b", c', "two\nlines", "tab\there", "很好"], "label": [1, 0, 1, 0]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    for name in ("a.csv", "a.tsv"):
        table = READER.read(tmp_path / name)
        assert table.columns["text"] == list(frame["text"])
        assert table.columns["label"] == ["1", "0", "1", "0"]


def test_byte_order_mark_crlf_and_blank_lines_are_not_data(tmp_path):
    content = b"\xef\xbb\xbftext,label\r\n\r\na,1\r\n\r\nb,0\r\n"
    table = _read(tmp_path, content)
    assert list(table.columns) == ["text", "label"] and _rows(table) == [("a", "1"), ("b", "0")]


def test_line_breaks_inside_quotes_stay_and_rows_know_their_line(tmp_path):
    table = _read(tmp_path, 'text,label\n"one\ntwo\n\nthree",1\nfour,0\n')
    assert table.columns["text"] == ["one\ntwo\n\nthree", "four"]
    assert table.where == ["data.csv:2", "data.csv:6"]


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "bar")])
def test_another_delimiter_is_found_and_said_in_both_languages(tmp_path, delimiter, name):
    table = _read(
        tmp_path, f"text{delimiter}label\na, b{delimiter}1\nc; d,{delimiter}0\n".replace("; d", " d")
    )
    assert _rows(table) == [("a, b", "1"), ("c d,", "0")]
    assert f"separated by {name}" in table.guesses[0].en and "字段分隔符" in table.guesses[0].zh


def test_delimiters_inside_quoted_names_do_not_count(tmp_path):
    table = _read(tmp_path, '"text, raw, whole";label\na;1\nb;0\n')
    assert list(table.columns) == ["text, raw, whole", "label"]


def test_commas_are_no_guess(tmp_path):
    assert _read(tmp_path, "text,label\na;b,1\nc,0\n").guesses == ()


class TestTabSeparated:
    def test_bare_quotes_are_characters_and_it_is_said(self, tmp_path):
        table = _read(tmp_path, 'text\tlabel\n"so bad\t0\nthe "best" one"\t1\n', "a.tsv")
        assert table.columns["text"] == ['"so bad', 'the "best" one"']
        assert "quotation marks are plain characters" in table.guesses[0].en

    def test_quoted_fields_may_hold_tabs_and_line_breaks(self, tmp_path):
        table = _read(tmp_path, 'text\tlabel\n"a\tb"\t0\n"two\nlines"\t1\n"a ""b"""\t1\n', "a.tsv")
        assert table.columns["text"] == ["a\tb", "two\nlines", 'a "b"'] and table.guesses == ()

    def test_an_open_quote_does_not_swallow_the_rows_below(self, tmp_path):
        table = _read(tmp_path, 'text\tlabel\n"open\t0\nb\t1\nclosed"\t0\n', "a.tsv")
        assert len(table) == 3


def test_names_that_are_missing_are_numbered(tmp_path):
    assert list(_read(tmp_path, ",text,\n0,a,x\n1,b,y\n").columns) == ["column 1", "text", "column 3"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("text,label\na,1\nb,0,extra\n", "another number of fields"),
        ('text,label\n"open,1\nb,0\n', "cannot be read"),
        ("text,label\n", "a header and no rows"),
        ("text,text\na,b\n", "names a column twice"),
        ("a good film,1\na bad film,0\nanother,1\nfourth,0\n", "first row looks like data"),
        ("text,label\na,1\nb,0\ntext,label\nc,1\n", "first row looks like data"),
    ],
)
def test_files_that_are_not_tables_are_refused_with_the_next_step(tmp_path, content, what):
    with pytest.raises(DataError, match=what) as caught:
        _read(tmp_path, content)
    assert "data.csv" in caught.value.got and caught.value.next_step


def test_a_field_of_a_megabyte_is_read_and_a_longer_one_is_an_open_quote(tmp_path):
    assert len(_read(tmp_path, f'text,label\n"{"a" * 999_999}",1\n').columns["text"][0]) == 999_999
    with pytest.raises(DataError, match="cannot be read"):
        _read(tmp_path, f'text,label\n"{"a" * 1_000_001}",1\n')
