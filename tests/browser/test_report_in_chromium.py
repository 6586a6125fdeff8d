# ruff: noqa: E501 - the scripts run in the page
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Visit = Callable[..., Any]

# Elements wider than the box they are drawn in, unless they or an ancestor scroll on purpose.
CLIPPED = """() => {
  const scrolls = e => e && (['auto', 'scroll'].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const hidden = e => e.closest('.unseen, .stack thead, .switch') || !e.getClientRects().length;
  const edge = document.documentElement.clientWidth;
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg') && e.tagName !== 'svg') continue;
    if (hidden(e) || scrolls(e)) continue;
    const box = e.getBoundingClientRect();
    const inline = getComputedStyle(e).display.startsWith('inline');
    const overflows = !inline && e.tagName !== 'svg' && e.scrollWidth > e.clientWidth + 1;
    if (box.right > edge + 1 || box.left < -1 || overflows)
      found.push(`${e.tagName}.${e.className.baseVal ?? e.className} ${Math.round(box.left)}..${Math.round(box.right)}`
        + ` ${e.scrollWidth}>${e.clientWidth}: ${e.textContent.trim().slice(0, 40)}`);
  }
  return found;
}"""

# Contrast of every piece of visible text against the colour behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { const stack = []; for (let n = e; n; n = n.parentElement) stack.push(parse(getComputedStyle(n).backgroundColor));
    return stack.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]); };
  const low = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.closest('.unseen, .stack thead')) continue;
    const style = getComputedStyle(e);
    const ink = parse(e.closest('svg') ? style.fill : style.color);
    const back = behind(e), a = light(over(ink, back)), b = light(back);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) low.push(`${ratio.toFixed(2)} ${e.tagName}.${e.className.baseVal ?? e.className}: ${e.textContent.trim().slice(0, 30)}`);
  }
  return low;
}"""


def shown(page: Any, text: str) -> bool:
    return bool(page.get_by_text(text).first.is_visible())


@pytest.mark.parametrize("report", ["usual", "large"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_console_stays_empty_so_the_policy_is_not_violated(
    visit: Visit, report: str, scheme: str
) -> None:
    page = visit(report, color_scheme=scheme)
    page.click("label[for=show-zh]")
    page.emulate_media(media="print")
    assert page.said == []


def test_the_policy_is_in_force(visit: Visit) -> None:
    page = visit()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p id=x style=\"color:red\">x</p>')")
    assert page.evaluate("getComputedStyle(document.getElementById('x')).color") != "rgb(255, 0, 0)"
    assert any("Content Security Policy" in line for line in page.said)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_ten_tiles_are_visible(visit: Visit, language: str) -> None:
    page = visit()
    page.click(f"label[for=show-{language}]")
    tiles = page.locator(".tile")
    assert tiles.count() == 10
    for place in range(10):
        assert tiles.nth(place).is_visible()
        assert tiles.nth(place).locator(".tile-title").inner_text().strip()
        assert tiles.nth(place).locator(".chip").first.inner_text().strip()


@pytest.mark.parametrize("report", ["usual", "large"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_is_clipped(visit: Visit, width: int, language: str, report: str) -> None:
    page = visit(report, width=width)
    page.click(f"label[for=show-{language}]")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    across = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert across[0] <= across[1]
    assert page.evaluate(CLIPPED) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []
    page.click("label[for=show-zh]")
    assert page.evaluate(CONTRAST) == []


def test_dark_mode_is_dark_and_its_drawings_follow(visit: Visit) -> None:
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    look = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.plot text')).fill]"
    (paper, ink), (dark_paper, dark_ink) = light.evaluate(look), dark.evaluate(look)
    assert paper == "rgb(251, 250, 248)" and dark_paper == "rgb(17, 20, 23)"
    assert ink != dark_ink


def test_without_javascript_everything_is_readable_and_the_language_switches(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator(".tile").count() == 10
    assert shown(page, "The ten answers") and not shown(page, "十问的答案")
    page.click("label[for=show-zh]")
    assert shown(page, "十问的答案") and not shown(page, "The ten answers")
    page.click("label[for=show-en]")
    assert shown(page, "The ten answers")
    page.click("summary >> nth=-1")
    assert page.locator("pre").is_visible()


def test_the_language_switches_by_keyboard(visit: Visit) -> None:
    page = visit()
    page.focus("#show-en")
    page.keyboard.press("ArrowRight")
    assert shown(page, "十问的答案")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('label[for=show-zh]')).outlineStyle")
        == "solid"
    )


def test_only_one_language_is_visible_at_a_time(visit: Visit) -> None:
    page = visit()
    visible = 'l => [...document.querySelectorAll(`.page [lang="${l}"]:not(.always)`)].filter(e => e.getClientRects().length).length'
    assert page.evaluate(visible, "zh-CN") == 0 < page.evaluate(visible, "en")
    page.click("label[for=show-zh]")
    assert page.evaluate(visible, "en") == 0 < page.evaluate(visible, "zh-CN")


def test_print_is_light_without_navigation_and_keeps_the_answers(visit: Visit) -> None:
    page = visit(color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible() and not page.locator(".languages").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".tile").nth(9).is_visible()
    assert len(page.pdf()) > 20_000


def test_scrolling_tables_are_reached_by_keyboard_and_have_names(visit: Visit) -> None:
    page = visit(width=360)
    regions = page.locator(".scroll")
    assert regions.count() > 5
    for place in range(regions.count()):
        assert regions.nth(place).get_attribute("tabindex") == "0"
        assert regions.nth(place).get_attribute("aria-label")


def test_drawings_fill_their_boxes_at_both_widths(visit: Visit) -> None:
    for width in (360, 1440):
        page = visit(width=width)
        sizes = page.evaluate(
            "[...document.querySelectorAll('.plot')].map(p => [p.clientWidth, p.clientHeight])"
        )
        assert len(sizes) >= 6
        assert all(w >= 280 and h >= 50 for w, h in sizes), sizes
