// One axis: sizes, windows, and how each framework chooses its window. The formulas are those of
// pyx_deconv.geometry:
//     K    = (k - 1) d + 1
//     full = (n - 1) s + K
//     result = full[begin : full - end]          a negative end appends zeros

function axisOf(n, k, s, d, [begin, cropped], outputPadding) {
    const reach = (k - 1) * d + 1;
    const full = (n - 1) * s + reach;
    const end = cropped - outputPadding;
    return { n, k, s, d, reach, full, begin, end, cropped, outputPadding, size: full - begin - end };
}

/** The axis that stands in where there is only one: one row of everything. */
const SINGLE_ROW = axisOf(1, 1, 1, 1, [0, 0], 0);

/** output_padding has to be smaller than this. */
const outputPaddingLimit = (stride, dilation) => Math.max(stride, dilation);

/** Why the settings of an axis are impossible, in words, or null. */
function problemOf(axis, name) {
    if (axis.size >= 1) return null;
    const grown = axis.outputPadding ? ` output_padding gives ${axis.outputPadding} back.` : "";
    return (
        `Nothing is left${name}: the paintings cover ${plural(axis.full, "cell")}, and padding crops ` +
        `${axis.begin} at the beginning and ${axis.cropped} at the end.${grown} ` +
        "Take less padding, or a larger kernel."
    );
}

/** The windows of the conventions, as [{name, begin, end, size}]; `own` is the one of this page. */
function windowsOf(axis) {
    const { n, s, reach, full, begin, outputPadding } = axis;
    const made = (name, from, size) => ({ name, begin: from, end: full - from - size, size });
    const pytorch = (p, op) => made(`PyTorch padding=${p}, output_padding=${op}`, p, full - 2 * p + op);
    const windows = [{ ...made("this page, now", begin, axis.size), own: true }];
    if (begin >= 0) windows.push(pytorch(begin, outputPadding));

    // What is too much for n s cells; "same" crops it.
    const excess = full - n * s;
    const p = Math.max(Math.ceil(excess / 2), 0);
    const op = 2 * p - excess;
    if ((p !== begin || op !== outputPadding) && op < outputPaddingLimit(s, axis.d))
        windows.push(pytorch(p, op));

    const half = Math.max(Math.floor(excess / 2), 0);
    windows.push(made('Keras padding="valid"', 0, n * s + Math.max(reach - s, 0)));
    windows.push(made('Keras padding="same"', half, n * s));
    windows.push(made("ONNX SAME_UPPER", half, n * s));
    windows.push(made("ONNX SAME_LOWER", p, n * s));
    return windows;
}

/** What is to be seen in the windows: two of the same size that are not the same cells. */
function windowsInWords(windows) {
    const same = windows.find((window) => window.name.startsWith("Keras") && window.name.includes("same"));
    const other = windows.find(
        (window) => !window.own && window.size === same.size && window.begin !== same.begin,
    );
    if (!other) return "Here all windows of one size are the same cells.";
    const shift = other.begin - same.begin;
    return (
        `${same.name} and ${other.name} both keep ${plural(same.size, "cell")}, but the latter begins ` +
        `${plural(Math.abs(shift), "cell")} ${shift > 0 ? "later" : "earlier"}: same size, other numbers.`
    );
}
