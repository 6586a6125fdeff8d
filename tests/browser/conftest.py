"""A real headless Chromium (Debian's package `chromium`), driven through playwright."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report.builder import build_result, large_result

from tiku.report.html import write_report

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests. Skips, loudly, where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        reason = "NO CHROMIUM: the report was NOT looked at; install it with: apt-get install -y chromium"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of thirteen trials and one of sixty, on disk."""
    folder = tmp_path_factory.mktemp("reports")
    paths = {"usual": folder / "usual.html", "large": folder / "large.html"}
    write_report(build_result(), paths["usual"])
    write_report(large_result(), paths["large"])
    return paths


@pytest.fixture
def visit(browser: Any, reports: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Open a report; what the console says is gathered in `page.said`."""
    contexts = []

    def open_page(report: str = "usual", *, width: int = 1440, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: page.said.append(f"pageerror: {error}"))
        page.on("requestfailed", lambda request: page.said.append(f"failed: {request.url}"))
        page.goto(reports[report].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
