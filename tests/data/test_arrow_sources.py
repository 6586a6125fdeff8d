"""Parquet files and saved Hugging Face datasets."""

import datetime
import decimal
import json
from collections import Counter

import pyarrow
import pyarrow.parquet
import pytest

from tests.data.saved import save_dataset, save_dataset_dict
from tiku.core.errors import DataError
from tiku.data import load
from tiku.data.readers.hf_dataset import READER as SAVED
from tiku.data.readers.parquet import READER as PARQUET

COLUMNS = {"text": [f"text {i}" for i in range(30)], "label": [i % 2 for i in range(30)]}
NAMES = {"label": ("neg", "pos")}


def _part(word, count, labels=None):
    return {
        "sentence": [f"{word} {i}" for i in range(count)],
        "label": [i % 2 for i in range(count)] if labels is None else labels,
    }


def _one(source, **more):
    (loaded,) = load([str(source)], **more)
    return loaded


def _guesses(loaded):
    return "\n".join(guess.en for guess in loaded.report.guesses)


class TestParquet:
    def test_columns_and_types_come_through(self, tmp_path):
        columns = {
            "text": ["a", "很好", None], "n": [1, 2, None], "x": [0.5, float("inf"), None],
            "yes": [True, False, None], "options": [["a", "b"], [], None],
            "at": [datetime.date(2024, 1, 2), None, None],
        }  # fmt: skip
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
        table = PARQUET.read(tmp_path / "a.parquet")
        assert table.columns == columns and table.where == [
            "a.parquet:row 1",
            "a.parquet:row 2",
            "a.parquet:row 3",
        ]

    @pytest.mark.parametrize(
        "kind",
        [pyarrow.large_string(), pyarrow.string_view(), pyarrow.dictionary(pyarrow.int8(), pyarrow.string())],
    )
    def test_every_kind_of_string_is_a_string(self, tmp_path, kind):
        array = pyarrow.array(["a", "b", "a"]).cast(kind)
        pyarrow.parquet.write_table(pyarrow.table({"text": array}), tmp_path / "a.parquet")
        assert PARQUET.read(tmp_path / "a.parquet").columns["text"] == ["a", "b", "a"]

    @pytest.mark.parametrize(
        "labels", [[1.0, 0.0] * 15, [decimal.Decimal("1.0"), decimal.Decimal("0.0")] * 15]
    )
    def test_whole_numbers_of_any_type_are_the_same_classes(self, tmp_path, labels):
        columns = {"text": COLUMNS["text"], "label": labels}
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
        assert _one(tmp_path / "a.parquet").dataset.class_names == ("0", "1")

    def test_class_names_of_the_metadata_name_the_integers(self, tmp_path):
        features = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = pyarrow.table(COLUMNS).replace_schema_metadata(metadata)
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        loaded = _one(tmp_path / "a.parquet")
        assert loaded.dataset.class_names == ("bad", "good")
        assert loaded.dataset.labels.tolist() == COLUMNS["label"]

    @pytest.mark.parametrize(
        "damage", [lambda b: b[:-20], lambda b: b[: len(b) // 2], lambda b: b"PAR1" + b[50:]]
    )
    def test_damaged_files_are_refused(self, tmp_path, damage):
        pyarrow.parquet.write_table(pyarrow.table(COLUMNS), tmp_path / "a.parquet")
        whole = (tmp_path / "a.parquet").read_bytes()
        (tmp_path / "a.parquet").write_bytes(damage(whole))
        with pytest.raises(DataError, match="not a whole Parquet file"):
            PARQUET.read(tmp_path / "a.parquet")

    def test_a_file_without_rows_is_refused(self, tmp_path):
        pyarrow.parquet.write_table(
            pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "a.parquet"
        )
        with pytest.raises(DataError, match="no rows"):
            PARQUET.read(tmp_path / "a.parquet")


class TestSaved:
    @pytest.mark.parametrize("shards", [1, 3])
    def test_a_dataset_of_any_number_of_shards(self, tmp_path, shards):
        loaded = _one(save_dataset(tmp_path / "d", COLUMNS, NAMES, shards))
        assert list(loaded.dataset.texts) == COLUMNS["text"] and loaded.parts is None
        assert loaded.dataset.class_names == ("neg", "pos")
        assert loaded.dataset.labels.tolist() == COLUMNS["label"]

    def test_a_dict_keeps_its_splits_under_their_usual_names(self, tmp_path):
        parts = {"train": _part("a", 40), "validation": _part("b", 10), "test": _part("c", 20)}
        loaded = _one(save_dataset_dict(tmp_path / "d", parts, NAMES))
        assert Counter(loaded.parts) == {"train": 40, "validation": 10, "test": 20}
        assert [p for p, t in zip(loaded.parts, loaded.dataset.texts, strict=True) if t[0] == "c"] == [
            "test"
        ] * 20

    def test_a_test_part_with_secret_labels_is_left_out_and_it_is_said(self, tmp_path):
        parts = {"train": _part("a", 40), "validation": _part("b", 10), "test": _part("c", 20, [-1] * 20)}
        loaded = _one(save_dataset_dict(tmp_path / "d", parts, NAMES))
        assert Counter(loaded.parts) == {"train": 40, "validation": 10}
        assert "parts without labels are left out: test (20)" in _guesses(loaded)

    def test_a_single_secret_label_is_refused_with_its_row(self, tmp_path):
        parts = {"train": _part("a", 40), "test": _part("c", 4, [0, 1, -1, 0])}
        with pytest.raises(DataError, match="outside the classes") as caught:
            _one(save_dataset_dict(tmp_path / "d", parts, NAMES))
        assert "row 3: -1" in caught.value.got and "0 (neg)" in caught.value.allowed

    def test_parts_that_are_no_split_are_left_out_and_it_is_said(self, tmp_path):
        parts = {"train": _part("a", 40), "test": _part("b", 10), "unsupervised": _part("c", 50, [-1] * 50)}
        loaded = _one(save_dataset_dict(tmp_path / "d", parts, NAMES))
        assert Counter(loaded.parts) == {"train": 40, "test": 10}
        assert "left out: unsupervised (50)" in _guesses(loaded)

    def test_only_parts_that_are_no_split_are_refused(self, tmp_path):
        with pytest.raises(DataError, match="not named after splits") as caught:
            _one(save_dataset_dict(tmp_path / "d", {"en": _part("a", 40), "de": _part("b", 40)}))
        assert "en" in caught.value.got

    def test_a_test_part_alone_is_split_anew_and_it_is_said(self, tmp_path):
        loaded = _one(save_dataset_dict(tmp_path / "d", {"test": _part("a", 40)}))
        assert loaded.parts is None and "no train part" in _guesses(loaded)

    def test_running_text_by_lines_leaves_empty_lines_out(self, tmp_path):
        lines = {"text": ["", " = Title = ", "A paragraph.", ""] * 20}
        loaded = _one(save_dataset(tmp_path / "d", lines), task="causal-lm")
        assert len(loaded.dataset) == 40 and "40 rows without text are left out" in _guesses(loaded)

    @pytest.mark.parametrize(
        ("file", "content"),
        [
            ("state.json", "{}"), ("state.json", "{"), ("state.json", "[]"),
            ("state.json", '{"_data_files": [3]}'),
            ("state.json", '{"_data_files": [{"filename": "../secret.arrow"}]}'),
            ("state.json", '{"_data_files": [{"filename": "/etc/passwd"}]}'),
            ("data-00000-of-00001.arrow", ""), ("data-00000-of-00001.arrow", "ARROW1 but not really"),
        ],
    )  # fmt: skip
    def test_damaged_or_malicious_folders_are_refused(self, tmp_path, file, content):
        folder = save_dataset(tmp_path / "d", COLUMNS)
        (folder / file).write_text(content)
        with pytest.raises(DataError, match="damaged") as caught:
            SAVED.read(folder)
        assert caught.value.next_step

    def test_a_cut_arrow_file_is_refused(self, tmp_path):
        file = save_dataset(tmp_path / "d", COLUMNS) / "data-00000-of-00001.arrow"
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(DataError, match="damaged"):
            SAVED.read(tmp_path / "d")
