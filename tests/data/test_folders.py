"""Folders, lists of files, plain text: what is one dataset, what is left out, what is refused."""

import json
from collections import Counter

import pyarrow
import pyarrow.parquet
import pytest

from tiku.core.errors import DataError
from tiku.data import LabelledTexts, load, split


def _csv(path, word, count, header="text,label"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "\n" + "".join(f"{word} {i},{i % 2}\n" for i in range(count)))
    return path


def _jsonl(path, word, count):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"text": f"{word} {i}", "label": i % 2} for i in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _one(*sources, **more):
    (loaded,) = load([str(source) for source in sources], **more)
    return loaded


def _guesses(loaded):
    return "\n".join(guess.en for guess in loaded.report.guesses)


class TestSplitFiles:
    def test_a_folder_of_split_files_is_one_dataset(self, tmp_path):
        for name, count in (("train.csv", 40), ("dev.csv", 10), ("test.csv", 20)):
            _csv(tmp_path / name, name, count)
        loaded = _one(tmp_path)
        assert Counter(loaded.parts) == {"train": 40, "validation": 10, "test": 20}
        first = dict(zip(loaded.dataset.texts, loaded.parts, strict=True))
        assert first["dev.csv 3"] == "validation" and first["test.csv 19"] == "test"

    def test_what_describes_the_data_is_no_data(self, tmp_path):
        _csv(tmp_path / "train.csv", "a", 40), _csv(tmp_path / "test.csv", "b", 20)
        (tmp_path / "README.md").write_text("# About these data\n")
        (tmp_path / "dataset_infos.json").write_text("{}")
        (tmp_path / ".gitattributes").write_text("*.csv text")
        loaded = _one(tmp_path)
        assert Counter(loaded.parts) == {"train": 40, "test": 20} and "left out" not in _guesses(loaded)

    def test_other_tables_beside_them_are_left_out_and_named(self, tmp_path):
        _csv(tmp_path / "train.csv", "a", 40), _csv(tmp_path / "test.csv", "b", 20)
        _csv(tmp_path / "more.csv", "c", 10)
        assert "not named after a split are left out: more.csv" in _guesses(_one(tmp_path))

    def test_the_layout_of_the_hub_is_read_shard_by_shard(self, tmp_path):
        (tmp_path / "data").mkdir()
        for name, at in (
            ("train-00000-of-00002", 0),
            ("train-00001-of-00002", 20),
            ("test-00000-of-00001", 40),
        ):
            columns = {"text": [f"t {i}" for i in range(at, at + 20)], "label": [i % 2 for i in range(20)]}
            pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "data" / f"{name}.parquet")
        (tmp_path / "README.md").write_text("card")
        loaded = _one(tmp_path)
        assert loaded.dataset.texts == tuple(f"t {i}" for i in (*range(40, 60), *range(40)))
        assert Counter(loaded.parts) == {"train": 40, "test": 20}

    def test_files_of_two_datasets_are_refused(self, tmp_path):
        for name in ("films_train", "films_test", "tweets_train", "tweets_test"):
            _csv(tmp_path / f"{name}.csv", name, 20)
        with pytest.raises(DataError, match="several datasets") as caught:
            _one(tmp_path)
        assert "tweets_test.csv" in caught.value.got

    def test_given_one_by_one_they_are_joined_in_any_order(self, tmp_path):
        test, train = _csv(tmp_path / "a_test.csv", "b", 20), _csv(tmp_path / "a_train.csv", "a", 40)
        alone = _csv(tmp_path / "other.csv", "c", 30)
        first, second = load([str(test), str(alone), train])
        assert Counter(first.parts) == {"train": 40, "test": 20} and second.parts is None
        assert len(second.dataset) == 30

    def test_other_columns_in_another_part_are_refused(self, tmp_path):
        _csv(tmp_path / "train.csv", "a", 20), _csv(tmp_path / "test.csv", "b", 20, header="sentence,label")
        with pytest.raises(DataError, match="the train split has other columns than the test split"):
            _one(tmp_path)

    def test_text_files_named_by_split_are_parts_and_not_documents(self, tmp_path):
        for name, count in (("train", 400), ("valid", 60), ("test", 60)):
            (tmp_path / f"wiki.{name}.txt").write_text(f"Some words of {name}. " * count)
        loaded = _one(tmp_path)
        assert loaded.parts == ("test", "train", "validation")
        splits = split(loaded, seed=0)
        assert splits.test.documents[0].startswith("Some words of test.")
        assert all("test" not in document for document in splits.train.documents)


class TestRows:
    def test_numbered_files_of_one_kind_are_taken_together_and_it_is_said(self, tmp_path):
        for i in range(3):
            _jsonl(tmp_path / f"part-{i:05d}.jsonl", f"part {i}", 20)
        loaded = _one(tmp_path)
        assert len(loaded.dataset) == 60 and loaded.parts is None
        assert loaded.dataset.texts[0] == "part 0 0" and loaded.dataset.texts[-1] == "part 2 19"
        assert "3 files are taken together: part-00000.jsonl … part-00002.jsonl" in _guesses(loaded)

    def test_a_folder_with_one_table_is_that_table(self, tmp_path):
        _csv(tmp_path / "reviews.csv", "a", 30)
        assert len(_one(tmp_path).dataset) == 30

    def test_files_of_two_kinds_are_refused(self, tmp_path):
        _csv(tmp_path / "a.csv", "a", 30), _jsonl(tmp_path / "b.jsonl", "b", 30)
        with pytest.raises(DataError, match="several datasets"):
            _one(tmp_path)

    def test_a_table_beside_documents_is_refused(self, tmp_path):
        _csv(tmp_path / "authors.csv", "a", 30)
        (tmp_path / "novel.txt").write_text("A novel. " * 500)
        with pytest.raises(DataError, match="several datasets") as caught:
            _one(tmp_path)
        assert "authors.csv, novel.txt" in caught.value.got

    def test_other_columns_in_another_file_are_refused_by_name(self, tmp_path):
        _csv(tmp_path / "a.csv", "a", 20), _csv(tmp_path / "b.csv", "b", 20, header="sentence,label")
        with pytest.raises(DataError, match=r"b\.csv has other columns than a\.csv"):
            _one(tmp_path)


class TestDocuments:
    def test_every_text_below_a_folder_is_a_document_with_its_path(self, tmp_path):
        for name in ("b.txt", "a/c.md", "a/d.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(f"This is {name}. " * 100)
        prose = _one(tmp_path).dataset
        assert prose.titles == ("a/c.md", "a/d.txt", "b.txt")
        assert prose.documents[0] == "This is a/c.md. " * 100

    def test_folders_named_after_splits_are_parts(self, tmp_path):
        for part, count in (("train", 30), ("test", 10)):
            for i in range(count):
                (tmp_path / part).mkdir(exist_ok=True)
                (tmp_path / part / f"{i}.txt").write_text(f"{part} {i} " * 50)
        assert Counter(_one(tmp_path).parts) == {"train": 30, "test": 10}

    def test_folders_are_labels_where_texts_are_to_be_classified(self, tmp_path):
        for part, count in (("train", 30), ("test", 10)):
            for label in ("neg", "pos"):
                (tmp_path / part / label).mkdir(parents=True)
                for i in range(count):
                    (tmp_path / part / label / f"{i}.txt").write_text(f"{part} {label} {i}")
        (tmp_path / "train" / "urls.txt").write_text("not a review")
        loaded = _one(tmp_path, task="text-classification")
        rows = loaded.dataset
        assert isinstance(rows, LabelledTexts) and rows.class_names == ("neg", "pos")
        assert all(
            rows.class_names[label] in text for text, label in zip(rows.texts, rows.labels, strict=True)
        )
        assert Counter(loaded.parts) == {"train": 60, "test": 20}
        assert "1 files beside these folders are left out" in _guesses(loaded)

    def test_one_file_is_one_document_without_its_byte_order_mark(self, tmp_path):
        (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + ("第一行\r\n第二行\r" * 300).encode())
        assert _one(tmp_path / "a.txt").dataset.documents == ("第一行\n第二行\n" * 300,)


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("好的,坏的\n一,二\n".encode("gb18030"), "a.csv", "iconv -f GB18030"),
        ("text,label\na,b\n".encode("utf-16"), "a.csv", "iconv -f UTF-16"),
        (b"\x80\x04\x95", "a.txt", "pickle"),
        (b"PAR1", "a.csv", "Parquet"),
        (b"\x1f\x8b\x08", "a.jsonl", "gunzip"),
        (b"PK\x03\x04", "a.csv", "Excel"),
        (b"text,label\na\x00b,1\n", "a.csv", "NUL"),
        (b"", "a.csv", "empty"),
    ],
)
def test_files_of_other_kinds_are_refused_with_what_they_are(tmp_path, content, name, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        _one(tmp_path / name)
    assert says in str(caught.value)


def test_invalid_utf8_is_refused_with_line_and_byte(tmp_path):
    (tmp_path / "a.csv").write_bytes("text,label\ngood,1\n很".encode() + b"\xe9ric,0\n")
    with pytest.raises(DataError) as caught:
        _one(tmp_path / "a.csv")
    assert "line 3, byte 4 of the line: 0xe9" in caught.value.got


class TestLists:
    def test_pairs_of_text_and_label(self):
        (loaded,) = load([[("good film", "pos"), ("bad film", "neg")]])
        assert loaded.dataset.class_names == ("neg", "pos") and loaded.dataset.labels.tolist() == [1, 0]

    def test_two_texts_and_a_label(self):
        (loaded,) = load([[("a", "b", 1), ("c", "d", 0)]])
        assert loaded.dataset.inputs() == [("a", "b"), ("c", "d")] and loaded.dataset.labels.tolist() == [
            1,
            0,
        ]

    @pytest.mark.parametrize("source", [[], [1, 2], [("a",)], [("a", 1), ("a", "b", 1)], 7, {"text": "a"}])
    def test_anything_else_is_refused(self, source):
        with pytest.raises(DataError):
            load([source])

    def test_a_path_that_is_no_list_is_refused(self):
        with pytest.raises(DataError, match="no list"):
            load("reviews.csv")
