// The settings: what Python gave, what the sliders made of it, and the operation that follows.

const SLIDERS = {
    stride: { from: 1, to: 4, what: "cells from one painting to the next" },
    padding: { from: 0, to: 3, what: "cells cropped at each end" },
    output_padding: { from: 0, to: 3, what: "cells cropped less at the end" },
    kernel: { from: 1, to: 5, what: "taps along an axis" },
    dilation: { from: 1, to: 3, what: "cells from one tap to the next" },
};

/** The settings per axis as Python gave them; the kernel is a size here. */
function settingsOf(given) {
    const kernel =
        given.stride.length === 1 ? [given.kernel.length] : [given.kernel.length, given.kernel[0].length];
    const { stride, padding, output_padding, dilation } = given;
    return { stride, padding, output_padding, kernel, dilation };
}

/** The given settings with one slider moved: it sets all axes. */
function moved(settings, name, value) {
    const changed = { ...settings };
    changed[name] = settings[name].map(() => (name === "padding" ? [value, value] : value));
    const limits = changed.stride.map((stride, axis) => outputPaddingLimit(stride, changed.dilation[axis]));
    changed.output_padding = changed.output_padding.map((value, axis) => Math.min(value, limits[axis] - 1));
    return changed;
}

/** The largest output_padding that all axes allow. */
const largestOutputPadding = (settings) =>
    Math.min(...settings.stride.map((stride, axis) => outputPaddingLimit(stride, settings.dilation[axis]))) -
    1;

/** The given kernel in another size: its first taps, or, beyond its end, its taps again from the first. */
const resized = (kernel, [rows, columns]) =>
    map2(rows, columns, (a, b) => kernel[a % kernel.length][b % kernel[0].length]);

/** What the arithmetic needs, always with two axes. */
function operationOf(given, settings) {
    const rank = settings.stride.length;
    const two = (values) => (rank === 1 ? [values] : values);
    const [x, kernel] = [two(given.x), two(given.kernel)];
    const axes = settings.stride.map((stride, axis) =>
        axisOf(
            rank === 1 ? x[0].length : [x.length, x[0].length][axis],
            settings.kernel[axis],
            stride,
            settings.dilation[axis],
            settings.padding[axis],
            settings.output_padding[axis],
        ),
    );
    if (rank === 1) axes.unshift(SINGLE_ROW);
    return { rank, x, w: resized(kernel, [axes[0].k, axes[1].k]), axes };
}

/** The names of the axes that there are. */
const axisNames = (rank) => (rank === 1 ? ["result"] : ["rows", "columns"]);

/** Why an operation is impossible, in words, or null. */
function impossible({ rank, axes }) {
    const problems = axes
        .slice(-rank)
        .map((axis, index) => problemOf(axis, rank === 1 ? "" : ` of the ${axisNames(rank)[index]}`));
    return problems.find((problem) => problem) ?? null;
}

/** The call in Python. */
function callText(settings) {
    const rank = settings.stride.length;
    const words = [];
    for (const name of ["stride", "padding", "output_padding", "dilation"]) {
        const values = settings[name];
        const uneven = name === "padding" && values.some(([begin, end]) => begin !== end);
        const text = uneven
            ? `[${values.map(([begin, end]) => `(${begin}, ${end})`).join(", ")}]`
            : perAxis(values);
        if (text !== (name === "stride" || name === "dilation" ? "1" : "0")) words.push(`${name}=${text}`);
    }
    return `pxd.conv_transpose(x[None], kernel[None, None]${words.map((word) => `, ${word}`).join("")})[0]`;
}
