// The sliders, and what they say.

/** Make the sliders once; their values are set by `showSettings`. */
function buildSliders() {
    byId("sliders").replaceChildren(
        ...Object.entries(SLIDERS).map(([name, { what }]) =>
            h(
                "div",
                { class: "setting" },
                h(
                    "label",
                    { for: name },
                    h("code", { text: name === "kernel" ? "kernel size" : name }),
                    h("output", { id: `${name}-value`, for: name }),
                ),
                h("input", {
                    type: "range",
                    id: name,
                    step: 1,
                    "aria-describedby": `${name}-what`,
                    oninput: ({ target }) => move(name, Number(target.value)),
                }),
                h("p", { id: `${name}-what`, class: "small", text: what }),
            ),
        ),
    );
}

/** One value of a setting, for the position of its slider. */
const sliderValue = (name, settings) => (name === "padding" ? settings.padding[0][0] : settings[name][0]);

/** Which values a slider takes: its usual range, and what Python gave where that lies beyond. */
function rangeOf(name, settings) {
    const { from, to } = SLIDERS[name];
    const own = settingsOf(state.given)[name].flat();
    if (name === "output_padding") return [0, Math.max(largestOutputPadding(settings), 0)];
    return [Math.min(from, ...own), Math.max(to, ...own)];
}

function showSettings(settings) {
    for (const name of Object.keys(SLIDERS)) {
        const slider = byId(name);
        const [least, most] = rangeOf(name, settings);
        [slider.min, slider.max, slider.disabled] = [least, most, least === most];
        slider.value = sliderValue(name, settings);
        const shown = name === "kernel" ? times(settings.kernel) : perAxis(settings[name]);
        slider.setAttribute("aria-valuetext", shown);
        byId(`${name}-value`).textContent = shown;
    }
    const uneven = settings.padding.some(([begin, end]) => begin !== end);
    byId("padding-what").textContent = uneven
        ? "cells cropped (at the beginning, at the end); the slider sets both"
        : SLIDERS.padding.what;
    byId("output_padding-what").textContent = outputPaddingInWords(settings);
    byId("kernel-what").textContent = kernelInWords(settings);
    byId("call").textContent = callText(settings);
    byId("reset").disabled = JSON.stringify(settings) === JSON.stringify(settingsOf(state.given));
}

function outputPaddingInWords(settings) {
    const most = largestOutputPadding(settings);
    const rule = "it must be smaller than stride or dilation";
    const { what } = SLIDERS.output_padding;
    return most < 1
        ? `only 0 here: ${rule}, since one size of y leads to each size of x`
        : `${what}; at most ${most} here: ${rule}`;
}

function kernelInWords(settings) {
    const own = settingsOf(state.given).kernel;
    const { what } = SLIDERS.kernel;
    if (`${own}` === `${settings.kernel}`) return what;
    const smaller = settings.kernel.every((size, axis) => size <= own[axis]);
    return smaller
        ? `the first taps of the given ${times(own)}`
        : `the given ${times(own)}, repeated from its first tap`;
}

/** Light or dark: as the system has it until the reader chooses. */
function buildTheme() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const use = (dark) => {
        document.documentElement.dataset.theme = dark ? "dark" : "light";
        byId("theme").setAttribute("aria-pressed", `${dark}`);
        if (state.result) showEverything();
    };
    use(system.matches);
    system.addEventListener("change", ({ matches }) => use(matches));
    byId("theme").addEventListener("click", () => use(document.documentElement.dataset.theme !== "dark"));
}
