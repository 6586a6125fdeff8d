"""The ten question texts: complete, the same in both languages, and true to the plan of the bank."""

from __future__ import annotations

import calendar
import re
import tomllib
from collections import Counter
from importlib.resources import files

import pytest

from tiku.bank.questions import SECTION_KEYS, QuestionText, all_questions, availability, load
from tiku.core import registry
from tiku.core.errors import UnknownName
from tiku.core.text import Language

# Every method or measure the bank promises for a question; nothing may fall out of a text unseen.
METHODS: dict[str, tuple[str, ...]] = {
    "evaluation": (
        "accuracy", "precision", "recall", "f1", "auc-roc", "pr-auc", "log-loss", "brier", "ece",
        "confusion-matrix", "slices", "perplexity", "bits-per-byte", "multiple-choice", "pass-at-k",
        "intervals",
    ),
    "overfitting": (
        "l1-proximal", "l2-penalty", "weight-decay", "dropout", "data-augmentation", "early-stopping",
        "label-smoothing",
    ),
    "distributed": ("ddp", "fsdp2", "mirrored-strategy", "horovod", "mxnet"),
    "sparsity": (
        "sparse-autoencoder", "sparse-regularisation", "sparse-layers", "gradual-pruning", "rigl",
        "magnitude", "wanda", "sparsegpt", "two-four",
    ),
    "inference": (
        "prune-unstructured", "prune-width", "prune-depth", "int8-dynamic", "int8-static", "weight-only",
        "gptq", "awq", "operator-fusion", "layer-folding", "model-merging", "distillation",
    ),
    "memory": (
        "memory-pool", "lossless-compression", "lossy-compression", "sparse-storage", "mapped-loading",
        "layer-streaming", "activation-checkpointing", "adaptive-batch",
    ),
    "training": (
        "data-parallel", "mixed-precision", "lora", "frozen-layers", "pretrained-start", "sequence-packing",
        "compilation",
    ),
    "robustness": (
        "fgsm-training", "pgd-training", "free-training", "freelb", "trades", "data-augmentation", "ensemble",
        "fgsm", "pgd", "apgd", "square", "character-attack", "word-attack", "ibp", "randomised-smoothing",
    ),
    "energy": (
        "compression", "mixed-precision", "thread-count", "batch-size", "concurrency", "frequency",
        "energy-per-prediction",
    ),
    "interpretability": (
        "shap-exact", "shap-kernel", "shap-permutation", "shap-partition", "permutation-importance",
        "integrated-gradients", "surrogate-tree", "model-visualisation", "faithfulness",
    ),
}  # fmt: skip

# Words that show a correction is there: one entry per erratum, (English, Chinese).
ERRATA: dict[str, tuple[tuple[str, str], ...]] = {
    "evaluation": (
        ("predicted labels", "预测标签"), ("精度", "精度"), ("without an interval", "没有区间"),
        ("softmax output", "softmax 输出"),
    ),
    "overfitting": (("under Adam", "在 Adam 下"), ("exact zeros", "精确的零")),
    "distributed": (
        ("parameter servers", "参数服务器"), ("Theano", "Theano"), ("0.28.1", "0.28.1"),
        ("gluon.nn.DistributedDataParallel", "gluon.nn.DistributedDataParallel"), ("Attic", "Attic"),
        ("MultiWorkerMirroredStrategy", "MultiWorkerMirroredStrategy"), ("world_size=4", "world_size=4"),
        ("DistributedSampler", "DistributedSampler"), ("bubble", "气泡"),
    ),
    "sparsity": (("nearly zero", "接近零"), ("bottleneck", "瓶颈"), ("dense kernel", "稠密算子")),
    "inference": (
        ("loss.backward()", "loss.backward()"), ("temperature", "温度"), ("kl_div", "kl_div"),
        ("wrong direction", "方向"), ("Model fusion", "模型融合"), ("FlashAttention", "FlashAttention"),
        ("twice as fast", "快一倍"),
    ),
    "memory": (
        ("set_memory_growth", "set_memory_growth"), ("resident memory", "常驻内存"),
        ("saves parameters", "节省参数"),
    ),
    "training": (
        ("quantisation speed up training", "量化能加快训练"), ("synchronises the parameters", "同步的是参数"),
        ("float16 output layer", "float16 输出层"), ("TF32", "TF32"), ("hardware", "硬件"),
    ),
    "robustness": (("`...`", "`...`"), ("only on adversarial", "只用对抗样本"), ("guarantee", "保证")),
    "energy": (("nothing measured", "什么都没测"),),
    "interpretability": (("KernelExplainer", "KernelExplainer"),),
}  # fmt: skip

LABELS: dict[Language, tuple[str, ...]] = {
    "en": ("- **When:**", "- **Cost:**", "- **Measured by:**", "- **Source:**"),
    "zh": ("- **何时用：**", "- **代价：**", "- **如何测量：**", "- **出处：**"),
}
Pair = tuple[QuestionText, QuestionText]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
_MONTHS = {name: str(number) for number, name in enumerate(calendar.month_name) if name}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_CJK = re.compile(r"[\u4e00-\u9fff]")


def numbers(text: str) -> Counter[str]:
    """The numbers of a text; an English month name counts as its number, as Chinese writes it."""
    for month, number in _MONTHS.items():
        text = text.replace(f"{month} 20", f"{number} 20")
    return Counter(_NUMBER.findall(text))


@pytest.fixture(params=list(METHODS))
def pair(request: pytest.FixtureRequest) -> Pair:
    return load(request.param, "en"), load(request.param, "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_bank_holds_the_ten_questions_in_order(language: Language) -> None:
    questions = all_questions(language)
    assert [q.id for q in questions] == list(METHODS)
    assert [q.number for q in questions] == list(range(1, 11))
    assert {q.language for q in questions} == {language}


def test_every_file_name_agrees_with_its_front_matter() -> None:
    entries = [e for e in files("tiku.bank").joinpath("questions").iterdir() if e.name.endswith(".md")]
    assert len(entries) == 20
    for entry in entries:
        fields = tomllib.loads(entry.read_text(encoding="utf-8").split("+++\n")[1])
        assert entry.name[:-6] == f"q{fields['number']:02d}_{fields['id']}"
        assert set(fields) - {"built_by"} == {"id", "number", "title", "methods", "metrics"}
        assert set(fields.get("built_by", {})) <= set(fields["methods"])


def test_both_languages_have_the_same_sections_in_the_same_order(pair: Pair) -> None:
    for question in pair:
        assert tuple(s.key for s in question.sections) == SECTION_KEYS
        assert all(s.markdown for s in question.sections)
    english, chinese = pair
    assert english.metrics == chinese.metrics and english.metrics
    assert [m.built_by for m in english.methods] == [m.built_by for m in chinese.methods]
    assert english.title != chinese.title


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_uses_the_same_section_headings_in_every_question(language: Language) -> None:
    headings = {tuple(s.heading for s in q.sections) for q in all_questions(language)}
    assert len(headings) == 1


def test_every_promised_method_has_its_section_in_both_languages(pair: Pair) -> None:
    for question in pair:
        assert tuple(m.id for m in question.methods) == METHODS[question.id]
        headings = re.findall(r"^### (.+)$", question.section("methods").markdown, flags=re.MULTILINE)
        assert headings == [m.heading for m in question.methods]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_method_says_when_at_what_cost_how_measured_and_from_where(language: Language) -> None:
    for question in all_questions(language):
        for method in question.methods:
            bullets = [line for line in method.markdown.splitlines() if line.startswith("- ")]
            assert len(bullets) == 4, (question.id, method.id)
            for bullet, label in zip(bullets, LABELS[language], strict=True):
                assert bullet.startswith(label) and len(bullet) > len(label) + 3, (question.id, method.id)
            assert re.search(r"\d{4}|doc|文档|\"|“", bullets[3]), (question.id, method.id)


def test_numbers_agree_between_the_languages_in_every_section(pair: Pair) -> None:
    english, chinese = pair
    for a, b in zip(english.sections, chinese.sections, strict=True):
        assert numbers(a.markdown) == numbers(b.markdown), (english.id, a.key)
    for one, other in zip(english.methods, chinese.methods, strict=True):
        assert numbers(one.heading + one.markdown) == numbers(other.heading + other.markdown), one.id


def test_every_paragraph_of_one_language_has_its_partner_in_the_other(pair: Pair) -> None:
    english, chinese = pair
    for a, b in zip(english.sections, chinese.sections, strict=True):
        shape = [[block[:2] for block in s.markdown.split("\n") if block] for s in (a, b)]
        kinds = [[k if k in ("- ", "##", "``") else "p" for k in part] for part in shape]
        assert kinds[0] == kinds[1], (english.id, a.key)


def test_the_errata_of_each_question_are_corrected_in_both_languages(pair: Pair) -> None:
    for question in pair:
        text = question.section("errata").markdown
        said, true = ("**Said:**", "**True:**") if question.language == "en" else ("**常说：**", "**实际：**")
        cards = [line for line in text.splitlines() if line]
        assert all(c.startswith(f"- {said}") and c.count(true) == 1 for c in cards)
        for words in ERRATA[question.id]:
            assert words[question.language == "zh"].lower() in text.lower(), (question.id, words)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_gives_the_command_that_measures_it(language: Language) -> None:
    for question in all_questions(language):
        assert f"```\ntiku ask {question.id} MODEL --data DATA\n```" in question.section("command").markdown


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_says_itself_what_is_built_or_holds_a_placeholder(language: Language) -> None:
    for question in all_questions(language):
        text = "\n".join([question.title, *(s.markdown for s in question.sections)])
        assert not re.search(r"TODO|TBD|FIXME|XXX|lorem|待补|待定|coming soon|敬请期待", text, re.IGNORECASE)


def test_english_is_english_and_chinese_is_chinese(pair: Pair) -> None:
    english, chinese = pair
    quoted = {"精度"}  # the one Chinese word that the English text discusses
    for section in english.sections:
        rest = section.markdown
        for word in quoted:
            rest = rest.replace(word, "")
        assert not _CJK.search(rest), (english.id, section.key)
    for section in chinese.sections:
        assert _CJK.search(section.heading + section.markdown)
        assert not re.search(r"[\u4e00-\u9fff][,;:?!](?=\s|$)", section.markdown), (chinese.id, section.key)


@pytest.mark.parametrize("name", [5, "5", "05", "q5", "q05", "Q05", "inference", " Inference "])
def test_a_question_is_found_by_id_and_by_number(name: str | int) -> None:
    assert load(name).id == "inference"
    assert load(name, "zh").number == 5


@pytest.mark.parametrize(("name", "near"), [("inferense", "inference"), ("robustnes", "robustness")])
def test_an_unknown_id_names_the_nearest_question(name: str, near: str) -> None:
    with pytest.raises(UnknownName) as caught:
        load(name)
    assert near in str(caught.value.next_step)
    assert caught.value.got == name
    assert all(question in str(caught.value.allowed) for question in METHODS)


@pytest.mark.parametrize("name", [0, 11, -1, "", "q", "zzz", "../q01_evaluation", "5.0"])
def test_a_name_near_nothing_is_refused_with_a_next_step(name: str | int) -> None:
    with pytest.raises(UnknownName) as caught:
        load(name)
    assert caught.value.next_step
    assert caught.value.exit_code == 2


def test_an_unknown_language_and_an_unknown_section_are_refused() -> None:
    with pytest.raises(UnknownName) as caught:
        all_questions("fr")  # type: ignore[arg-type]
    assert "en" in str(caught.value.allowed) and "zh" in str(caught.value.allowed)
    with pytest.raises(UnknownName):
        load(1).section("appendix")


def test_availability_names_what_is_built_and_what_is_not() -> None:
    question = load("overfitting")
    some = availability(question, {"dropout", "weight-decay", "unrelated"})
    for text in (some.en, some.zh):
        assert text.index("weight-decay") < text.index("l1-proximal")
        assert "unrelated" not in text
    everything = availability(question, [m.id for m in question.methods])
    nothing = availability(question, ())
    assert "not measured" not in everything.en and "未测量" not in everything.zh
    assert "not measured" in nothing.en and "未测量" in nothing.zh


def test_availability_knows_variants_and_other_names_but_not_mere_likeness() -> None:
    named = {m.id: m for q in all_questions("en") for m in q.methods}
    assert named["f1"].is_built({"f1_macro"})
    assert named["multiple-choice"].is_built({"choice_accuracy"})
    assert named["operator-fusion"].is_built({"onnxruntime"})
    assert named["auc-roc"].is_built({"auc_roc"})
    assert not named["pgd"].is_built({"pgd-training"})
    assert not named["ddp"].is_built({"ddpx", "fsdp2"})
    assert not named["recall"].is_built({"call", "recal"})


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_are_those_that_the_exam_shows(language: Language) -> None:
    for question in all_questions(language):
        shown = registry.get("questions", question.id)
        assert (shown.number, shown.title[language]) == (question.number, question.title)
