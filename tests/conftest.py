"""Shared set-up: the Hypothesis profiles, the path to the oracle, and the browser."""

import os
import pathlib
import shutil
import sys

import hypothesis
import pytest

import pyx_deconv

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

# The oracle and the maker of the golden vectors are plain modules beside the tests.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

# A slow machine is not a defect, and in CI the same commit has to draw the same examples.
hypothesis.settings.register_profile(
    "default",
    deadline=None,
    max_examples=100,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "ci", parent=hypothesis.settings.get_profile("default"), derandomize=True
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Fail where a test file cannot be imported: that doctest skips it is meant for parts of the package
    whose extra is not installed, and would hide all of its tests."""
    report = yield
    if report.skipped and "unable to import module" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"{collector.path} cannot be imported: {report.longrepr[-1]}"
    return report


@pytest.fixture
def shown():
    """The classic example: 2 x 2, 3 x 3, stride 2."""
    return pyx_deconv.explain([[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], stride=2)


@pytest.fixture
def pictures():
    """For tests that draw."""
    for package in ("matplotlib", "PIL"):
        pytest.importorskip(package, reason="pictures need the extra explain: matplotlib, pillow")


@pytest.fixture
def drawn(pictures, shown):
    return shown


@pytest.fixture
def without_matplotlib(monkeypatch):
    """As where matplotlib is not installed."""
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("_figures", "_animation", "_layout"):
        monkeypatch.delitem(sys.modules, f"pyx_deconv.explanation.{name}", raising=False)


@pytest.fixture(scope="session")
def chromium():
    api = pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright")
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert path, f"none of {CHROMIUM} was found (Debian: apt install chromium)"
    # Chromium's own sandbox does not work for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def show(chromium):
    """Open HTML in a page of its own; afterwards: nothing was asked of a network, and nothing complained."""
    opened, complaints = [], []

    def show(html, width=1280, **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: complaints.append(f"request: {request.url}"[:200]))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.set_content(html)
        opened.append(context)
        return page

    yield show
    for context in opened:
        context.close()
    own = ("request: data:", "request: about:")
    assert [entry for entry in complaints if not entry.startswith(own)] == []
