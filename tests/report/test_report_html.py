from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from tiku.core.measured import Measured
from tiku.core.recipe import Recipe, Step
from tiku.core.result import Answer, Result
from tiku.core.text import Text
from tiku.report.html import render_report, write_report
from tiku.report.schema import from_json, to_json

from .builder import build_result, large_result
from .strategies import results

HOSTILE = "</span><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}&lt;"
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Document(HTMLParser):
    """The tags, attributes and text of a page; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open[-1:]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def hostile_result() -> Result:
    """The sample with hostile text wherever a user or a plugin can put text."""
    result = build_result()
    bad = Text(HOSTILE, HOSTILE)
    measured = Measured(0.5, 0.4, 0.6, 10, HOSTILE, "measured", HOSTILE)
    trials = tuple(
        replace(
            t,
            recipe=Recipe((*t.recipe.steps, Step(HOSTILE, {HOSTILE: HOSTILE}))),
            reason=bad if t.reason else None,
            metrics={**t.metrics, HOSTILE: measured},
            command=HOSTILE,
        )
        for t in result.trials
    )
    details = dict(trials[0].details)
    quality = dict(details["classification_quality"])
    quality["classes"] = [HOSTILE, "b"]
    quality["worst_examples"] = [{"text": HOSTILE, "true": HOSTILE, "predicted": HOSTILE, "confidence": 1.0}]
    trials = (replace(trials[0], details={**details, "classification_quality": quality}), *trials[1:])
    answer = Answer("fail", bad, "7c5a9e11", ("base-0000", "11aa22bb"), (bad,), HOSTILE)
    return replace(
        result,
        model={**result.model, "name": HOSTILE, "family": HOSTILE},
        data={**result.data, "name": HOSTILE},
        environment={**result.environment, "cpu": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}},
        reasons=(bad,),
        warnings=(bad,),
        errors=(HOSTILE,),
        trials=trials,
        questions={**result.questions, HOSTILE: answer, "evaluation": replace(answer, recommended=None)},
    )


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(build_result())


def test_tags_nest_and_ids_are_unique(page: str) -> None:
    document = Document(page)
    assert document.open == []
    ids = [attributes["id"] for _, attributes in document.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_the_page_has_its_target(page: str) -> None:
    document = Document(page)
    ids = {attributes.get("id") for _, attributes in document.tags}
    links = {a["href"] for tag, a in document.tags if tag in ("a", "use") and a.get("href")}
    clips = set(re.findall(r'clip-path="url\((#[^)]+)\)"', page))
    labels = {f"#{a['for']}" for tag, a in document.tags if tag == "label"}
    spoken = {f"#{a[k]}" for _, a in document.tags for k in ("aria-labelledby", "aria-describedby") if k in a}
    assert links and clips and labels and spoken
    for target in links | clips | labels | spoken:
        assert target is not None and target.removeprefix("#") in ids, target


def test_there_is_no_script_no_inline_style_and_nothing_to_fetch(page: str) -> None:
    document = Document(page)
    assert not {"script", "img", "link", "iframe", "object", "form", "base"} & {t for t, _ in document.tags}
    for tag, attributes in document.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert (attributes.get("href") or "#").startswith("#"), attributes
    assert "http-equiv=refresh" not in page and "@import" not in page and "url(http" not in page


def test_the_policy_admits_exactly_the_one_stylesheet(page: str) -> None:
    sheets = re.findall(r"<style>(.*?)</style>", page, flags=re.S)
    assert len(sheets) == 1
    digest = base64.b64encode(hashlib.sha256(sheets[0].encode()).digest()).decode()
    policy = next(a["content"] for _, a in Document(page).tags if a.get("http-equiv"))
    assert policy is not None and f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy


def test_hostile_text_stays_text() -> None:
    page = render_report(hostile_result())
    document = Document(page)
    assert document.open == []
    assert not {"script", "img"} & {tag for tag, _ in document.tags}
    assert "49" not in re.findall(r"\{\{(.*?)\}\}", page) and "{{7*7}}" in page
    assert document.text.count("<script>alert(1)</script>") > 20


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ten_tiles_with_both_titles_stand_in_order(language: str) -> None:
    page = render_report(build_result(), language=language)  # type: ignore[arg-type]
    numbers = re.findall(r'<span class="tile-number num">(\d+)</span>', page)
    assert numbers == [str(n) for n in range(1, 11)]
    assert "How are its decisions explained?" in page and "如何解释模型的决策？" in page


def test_a_question_without_an_answer_reads_not_measured() -> None:
    page = render_report(replace(build_result(), questions={}))
    assert page.count('class="tile is-not-measured"') == 10


def test_the_language_asked_for_is_shown_first() -> None:
    for language, id in (("en", "show-en"), ("zh", "show-zh")):
        page = render_report(build_result(), language=language)  # type: ignore[arg-type]
        checked = [a["id"] for tag, a in Document(page).tags if tag == "input" and "checked" in a]
        assert checked == [id]
        assert f'<html lang="{"zh-CN" if language == "zh" else "en"}">' in page


def test_each_piece_of_english_has_its_chinese_beside_it(page: str) -> None:
    assert page.count('<span lang="en">') == page.count('<span lang="zh-CN">') > 200


def test_numbers_show_the_result_and_its_interval(page: str) -> None:
    # From the sample: accuracy 0.8521 ± 0.017 at the base; p95 40.2 ms halves; energy x 0.37.
    for shown in ("0.852", "0.835 – 0.869", "40.2\u202fms", "20.1\u202fms", "×0.370", "23.0\u202fMB"):
        assert shown in page, shown


def test_opportunities_come_by_saving_and_the_refused_keep_their_reasons(page: str) -> None:
    order = re.findall(r'class="saving num">([^<]+)<', page)
    assert order == ["×0.370", "×0.580"]
    for reason in ("no C++ compiler is on this machine", "no result after 120 s", "misses p95_latency"):
        assert reason in page, reason


def test_rendering_is_the_same_from_memory_and_from_the_file(page: str) -> None:
    assert render_report(from_json(to_json(build_result()))) == page


def test_a_result_with_sixty_trials_stays_under_one_megabyte(tmp_path: Path) -> None:
    result = large_result(60)
    assert len(result.trials) == 60
    write_report(result, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size <= 1_000_000


def test_drawings_carry_no_colour_of_their_own(page: str) -> None:
    drawings = re.findall(r'<svg class="plot".*?</svg>', page.replace("&#34;", '"'), flags=re.S)
    drawings = drawings or re.findall(r"<svg [^>]*plot.*?</svg>", page, flags=re.S)
    assert len(drawings) >= 6
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        for element in root.iter():
            for name in ("fill", "stroke"):
                assert element.get(name) in (None, "none"), ElementTree.tostring(element)[:200]


def test_a_bare_result_renders() -> None:
    """Only a base, nothing chosen, nothing confirmed, no answers, no details."""
    sample = build_result()
    base = replace(sample.trials[0], details={}, command="", cost=None)
    bare = replace(
        sample, trials=(base,), chosen=None, decision="cannot tell", requirements=(), questions={},
        interactions=(), confirmation=None, warnings=(), reasons=(),
        plan={"requirements": [], "objective": None, "budget": 3.5, "seed": 0, "questions": []},
    )  # fmt: skip
    page = render_report(bare)
    assert Document(page).open == [] and "CANNOT TELL" in page and "No recipe was chosen." in page


def test_details_of_an_unknown_layout_are_named_not_dropped() -> None:
    sample = build_result()
    odd = {
        **sample.trials[0].details,
        "classification_quality": {"roc": [{"points": "?"}], "per_class": {"a": 1}},
    }
    page = render_report(replace(sample, trials=(replace(sample.trials[0], details=odd), *sample.trials[1:])))
    assert page.count("not laid out as this version draws them") >= 2


@settings(max_examples=25, deadline=None)
@given(results())
def test_any_result_that_the_schema_allows_renders(result: Result) -> None:
    document = Document(render_report(result))
    assert document.open == [] and "script" not in {tag for tag, _ in document.tags}


def test_a_tile_with_a_target_shows_the_number_that_was_judged(page: str) -> None:
    tile = re.search(r'<li class="tile[^>]*>(?:(?!</li>).)*?href="#evaluation".*?</li>', page, flags=re.S)
    assert tile is not None
    assert "0.846" in tile[0] and ">0.852<" not in tile[0] and "#7" in tile[0]
