"""The interactive page as it is read: by pointer, keys or ear, on a phone, in the dark, in a frame."""

import re

import numpy as np
import pytest
from explaining import KERNEL, X, browser, png, settings, slide

import pyx_deconv as pxd
from pyx_deconv.explanation import _page

UNEVEN = [[1.0, -2.0, 0.5], [3.0, 4.0, 0.0]]


def grid(page, label):
    return page.locator(f"table[aria-label^='{label}']").first


def cell(page, label, row, column):
    return grid(page, label).locator("tbody tr").nth(row).locator("td").nth(column)


# --- stepping -----------------------------------------------------------------------------------------------


@browser
def test_buttons_and_keys_step_all_views_together(show):
    page = show(_page.document(settings(X, KERNEL, 2, 1, 1)))
    step = page.locator("#step")
    assert step.inner_text() == "Pixel 1 of 4. x[0, 0] = 1 paints the kernel times 1."
    page.click("#forward")
    assert step.inner_text().startswith("Pixel 2 of 4. x[0, 1] = 2")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert step.inner_text().startswith("Pixel 4 of 4. x[1, 1] = 4")
    # The other views follow: a cell that this pixel reaches, its row and column, its phase.
    assert page.inner_text("#formula") == "y[1, 1] = 1·9 + 2·7 + 3·3 + 4·1 = 36"
    assert page.inner_text("#matrix-caption").startswith("Row y[1, 1] has 4 taps, column x[1, 1] has 9 taps")
    assert page.inner_text("#matrix-caption").endswith("where they cross is 1.")
    assert page.inner_text("#phases-caption").startswith("y[1, 1] comes from small kernel a: 4 of its 4 taps")
    assert page.locator(".panel.active").get_attribute("aria-label") == "phase a"
    page.keyboard.press("ArrowRight")
    assert step.inner_text().startswith("Pixel 1 of 4"), "after the last comes the first"
    page.keyboard.press("ArrowLeft")
    assert step.inner_text().startswith("Pixel 4 of 4")
    page.check("#walk-output")
    assert step.inner_text().startswith(
        "Cell 6 of 16. y[1, 1] = 36 comes from x[0, 0], x[0, 1], x[1, 0] and x"
    )
    page.click("#back")
    assert step.inner_text().startswith("Cell 5 of 16. y[1, 0] = 14")


@browser
def test_play_and_pause(show):
    page = show(_page.document(settings()))
    page.evaluate("document.getElementById('speed').value = 6")
    page.locator("body").press(" ")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.locator("#step", has_text="Pixel 3").wait_for()
    page.locator("body").press(" ")
    assert page.get_attribute("#play", "aria-label") == "Play"
    before = page.inner_text("#step")
    page.wait_for_timeout(500)
    assert page.inner_text("#step") == before
    page.click("#play")
    page.locator("#step", has_not_text=before).wait_for()
    page.click("#forward")
    assert page.get_attribute("#play", "aria-label") == "Play", "stepping by hand stops it"


@browser
def test_pointer_and_click(show):
    page = show(_page.document(settings()))
    step = page.locator("#step")
    cell(page, "input x", 1, 0).hover()
    assert step.inner_text().startswith("Pixel 3 of 4. x[1, 0] = 3")
    page.mouse.move(1, 1)
    assert step.inner_text().startswith("Pixel 1 of 4"), "pointing does not stay"
    cell(page, "output y, coloured", 2, 2).click()
    page.mouse.move(1, 1)
    assert step.inner_text().startswith("Cell 13 of 25. y[2, 2] = 36"), "a click does"
    lit = page.locator("td.lit[aria-label^='y[2, 2]']")
    assert lit.count() >= 3, "in every view that shows it"


@browser
def test_arrow_keys_walk_through_a_grid(show):
    page = show(_page.document(settings(X, KERNEL, 2, 1, 1)))
    cell(page, "input x", 0, 0).focus()
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#step").startswith("Pixel 3 of 4")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#step").startswith("Pixel 3 of 4"), "there is no row below"
    # In the canvas the cropped cells are no stops.
    cell(page, "sum of the paintings", 1, 1).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#step").startswith("Cell 2 of 16. y[0, 1]")
    stops = page.locator("table[aria-label='input x'] td[tabindex='0']")
    assert stops.count() == 2, "one stop of the Tab key for each grid"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "what has the focus is seen"


# --- what is said -------------------------------------------------------------------------------------------


@browser
@pytest.mark.parametrize(
    ("stride", "padding", "output_padding", "dilation"),
    [(1, 0, 0, 1), (2, 1, 1, 1), (3, 0, 2, 2), (2, 0, 0, 3)],
)
def test_formulas(show, stride, padding, output_padding, dilation):
    """Every formula, computed by Python, gives its cell."""
    page = show(_page.document(settings(UNEVEN, KERNEL, stride, padding, output_padding, dilation)))
    y = pxd.conv_transpose(
        np.array([UNEVEN]),
        np.array([[KERNEL]]),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )[0]
    formulas = page.evaluate(
        """() => state.result.y.flatMap((line, r) => line.map((_, c) => {
            choose("output", [r, c]);
            return document.getElementById("formula").textContent;
        }))"""
    )
    assert len(formulas) == y.size
    for formula, (r, c) in zip(formulas, np.ndindex(y.shape), strict=True):
        name, sum_, value = formula.split(" = ")
        assert name == f"y[{r}, {c}]"
        assert re.fullmatch(r"[-−\d.·+() ]+|nothing reaches it", sum_)
        python = "0" if sum_.startswith("nothing") else sum_.replace("·", "*").replace("−", "-")
        assert eval(python) == float(value.replace("−", "-")) == y[r, c]


@browser
def test_what_is_impossible_is_said(show):
    page = show(_page.document(settings()))
    for name, value in {"kernel": 1, "padding": 3}.items():
        slide(page, name, value)
    problem = page.locator("#problem")
    assert problem.get_attribute("role") == "alert"
    assert problem.inner_text().startswith(
        "Nothing is left of the rows: the paintings cover 3 cells, and padding"
    )
    assert not page.locator("#views").is_visible()
    slide(page, "stride", 1)
    assert page.locator("#output_padding").is_disabled()
    assert page.inner_text("#output_padding-what").startswith(
        "only 0 here: it must be smaller than stride or"
    )
    page.click("#reset")
    assert not problem.is_visible()
    assert page.inner_text("#size") == "2 × 2 becomes 5 × 5"
    assert page.inner_text("#call") == "pxd.conv_transpose(x[None], kernel[None, None], stride=2)[0]"


@browser
def test_kernel_sizes_say_where_the_taps_come_from(show):
    page = show(_page.document(settings()))
    said = {3: "taps along an axis", 2: "the first taps of the given 3 × 3", 5: "the given 3 × 3, repeated"}
    for size, words in said.items():
        slide(page, "kernel", size)
        assert page.inner_text("#kernel-what").startswith(words)


@browser
def test_the_shift_by_one_pixel_is_said(show):
    page = show(_page.document(settings()))
    assert page.inner_text(".shift") == (
        'Keras padding="same" and PyTorch padding=1, output_padding=1 both keep 4 cells, but the latter '
        "begins 1 cell later: same size, other numbers."
    )
    slide(page, "kernel", 4)
    assert page.inner_text(".shift") == "Here all windows of one size are the same cells."


@browser
def test_overlap_is_judged(show):
    page = show(_page.document(settings()))
    assert "The phases have 1, 2 and 4 taps: the overlap is uneven" in page.inner_text("#overlap-caption")
    slide(page, "kernel", 4)
    assert "That is no guarantee" in page.inner_text("#overlap-caption")
    page = show(_page.document(settings(X, np.ones((4, 4)).tolist())))
    assert "a constant input stays constant inside" in page.inner_text("#overlap-caption")


@browser
def test_a_large_matrix_is_drawn_as_dots(show):
    page = show(_page.document(settings(np.ones((8, 8)).tolist(), KERNEL)))
    assert page.locator("canvas.dots").count() == 1
    page.locator("canvas.dots").click(position={"x": 3, "y": 3})
    assert page.inner_text("#step").startswith("Cell 1 of 289")


@browser
def test_everything_has_a_name(show):
    page = show(_page.document(settings()))
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, table, td[role=gridcell], svg")].filter(
            element => !(element.getAttribute("aria-label") || element.getAttribute("aria-hidden") ||
                         element.textContent.trim() || element.labels?.length)
        ).map(element => element.outerHTML.slice(0, 100))"""
    )
    assert unnamed == []
    assert page.get_attribute("#step", "aria-live") == "polite"
    assert cell(page, "sum of the paintings", 0, 2).get_attribute("aria-label") == "y[0, 2]: 3, of it +3 now"
    assert cell(page, "output y, coloured", 0, 2).get_attribute("aria-label") == "y[0, 2] = 5, phase a"
    labels = page.locator("table[role=grid] td[aria-selected=true]").evaluate_all("cells => cells.length")
    assert labels >= 5


# --- how it looks -------------------------------------------------------------------------------------------

# The lowest contrast of any text with what lies behind it (WCAG 2: 4.5 is asked of small text).
CONTRAST = r"""() => {
    const parse = text => [...text.matchAll(/rgba?\(([^)]*)\)|color\(srgb ([^)]*)\)/g)].map(match => {
        const numbers = (match[1] ?? match[2]).split(/[\s,\/]+/).map(Number);
        const scale = match[1] ? 255 : 1;
        return {rgb: numbers.slice(0, 3).map(value => value / scale), alpha: numbers[3] ?? 1};
    });
    const luminance = rgb => rgb.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, index) => sum + v * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const style = getComputedStyle(element);
            const found = [...parse(style.backgroundImage), ...parse(style.backgroundColor)];
            if (found.some(colour => colour.alpha === 1)) return found.filter(colour => colour.alpha === 1);
        }
    };
    let worst = {ratio: 99};
    let count = 0;
    const walker = document.createTreeWalker(document.getElementById("page"), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
        const text = luminance(parse(getComputedStyle(element).color)[0].rgb);
        count += 1;
        for (const ground of behind(element)) {
            const other = luminance(ground.rgb);
            const ratio = (Math.max(text, other) + 0.05) / (Math.min(text, other) + 0.05);
            if (ratio < worst.ratio) worst = {ratio, html: element.outerHTML.slice(0, 200)};
        }
    }
    return {...worst, count};
}"""


@browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_contrast(show, scheme, stride):
    given = settings(X, KERNEL, stride, 1, stride - 1)
    page = show(_page.document(given), color_scheme=scheme, reduced_motion="reduce")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    for _ in range(2):
        worst = page.evaluate(CONTRAST)
        assert worst["count"] > 100
        assert worst["ratio"] >= 4.5, worst
        page.click("#forward")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    assert page.evaluate(CONTRAST)["ratio"] >= 4.5


@browser
@pytest.mark.parametrize("width", [375, 768, 1280])
def test_no_sideways_scrolling(show, width):
    for given in (
        settings(),
        settings([0.125] * 24, [1.0] * 5),
        settings(np.ones((8, 8)).tolist(), KERNEL, 4, 3),
    ):
        page = show(_page.document(given), width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@browser
def test_reduced_motion(show):
    durations = {
        motion: show(_page.document(settings()), reduced_motion=motion).evaluate(
            "Math.max(...[...document.querySelectorAll('*')].map("
            "element => parseFloat(getComputedStyle(element).transitionDuration)))"
        )
        for motion in ("reduce", "no-preference")
    }
    assert durations["reduce"] == 0
    assert durations["no-preference"] > 0


# --- in a notebook ------------------------------------------------------------------------------------------

RED = png((255, 0, 0))
ONE_PIXEL = {"x": 3, "y": 3, "width": 1, "height": 1}
BARE = "<!DOCTYPE html><body style='margin: 0'>"


@browser
def test_fragment_runs_in_its_sandbox(show):
    page = show(BARE + _page.fragment(settings(), RED))
    frame = page.frame_locator("iframe")
    frame.locator("#forward").click()
    assert frame.locator("#step").inner_text().startswith("Pixel 2 of 4")
    assert page.locator("img").evaluate("image => image.naturalWidth") == 8, "the picture is there as well"
    shown = page.screenshot(clip=ONE_PIXEL)
    page.set_content(BARE + "<div style='background: #f00; height: 9px'></div>")
    assert shown != page.screenshot(clip=ONE_PIXEL), "and the frame lies over it"


@browser
@pytest.mark.parametrize("without", ["scripts", "frames"])
def test_picture_stands_in(chromium, without):
    fragment = _page.fragment(settings(), RED)
    if without == "frames":
        fragment = re.sub("<iframe.*</iframe>", "", fragment, flags=re.DOTALL)
    # What forbids scripts around the frame forbids them in it.
    policy = "<meta http-equiv='Content-Security-Policy' content=\"script-src 'none'\">"
    with chromium.new_context() as context:
        page = context.new_page()
        page.set_content((policy if without == "scripts" else "") + BARE + fragment)
        assert page.locator("iframe").count() == (without == "scripts")
        shown = page.screenshot(clip=ONE_PIXEL)
        page = context.new_page()
        page.set_content(BARE + "<div style='background: #f00; height: 9px'></div>")
        assert shown == page.screenshot(clip=ONE_PIXEL)
