// The operation, four times, each by its own rule. They share nothing but the settings: that they agree is
// the lesson, and it is checked whenever anything changes.

const zeros = (rows, columns) => Array.from({ length: rows }, () => new Array(columns).fill(0));
const modulo = (value, s) => ((value % s) + s) % s; // at least 0, as in Python
const map2 = (rows, columns, cell) =>
    Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => cell(r, c)));

/** 1. Scatter: every input pixel adds its painting to the full result, of which the window is cut out. */
function scatter({ x, w, axes: [rows, columns] }) {
    const full = zeros(rows.full, columns.full);
    for (let i = 0; i < rows.n; i++)
        for (let j = 0; j < columns.n; j++)
            for (let a = 0; a < rows.k; a++)
                for (let b = 0; b < columns.k; b++)
                    full[i * rows.s + a * rows.d][j * columns.s + b * columns.d] += x[i][j] * w[a][b];
    return map2(rows.size, columns.size, (r, c) => full[r + rows.begin]?.[c + columns.begin] ?? 0);
}

/** The taps that reach place `out` of an axis, with the pixels they come from. */
function reaching(axis, out) {
    const found = [];
    for (let tap = axis.k - 1; tap >= 0; tap--) {
        const start = out + axis.begin - tap * axis.d;
        if (start % axis.s === 0 && start >= 0 && start / axis.s < axis.n)
            found.push({ pixel: start / axis.s, tap });
    }
    return found;
}

/** What reaches an output cell: pixels (i, j) through taps (a, b), in the order of the pixels. */
function termsOf({ x, w, axes: [rows, columns] }, [r, c]) {
    return reaching(rows, r).flatMap(({ pixel: i, tap: a }) =>
        reaching(columns, c).map(({ pixel: j, tap: b }) => ({
            pixel: [i, j],
            tap: [a, b],
            value: x[i][j],
            weight: w[a][b],
        })),
    );
}

/** 2. Gather: every output cell collects the pixels that reach it. */
function gather(operation) {
    const [rows, columns] = operation.axes;
    return map2(rows.size, columns.size, (r, c) =>
        termsOf(operation, [r, c]).reduce((sum, { value, weight }) => sum + value * weight, 0),
    );
}

/** The matrix: rows are output cells, columns are input cells; null where no tap leads from one to another. */
function matrixOf({ w, axes: [rows, columns] }) {
    const tap = (axis, out, pixel) => {
        const distance = out + axis.begin - pixel * axis.s;
        return distance >= 0 && distance < axis.reach && distance % axis.d === 0 ? distance / axis.d : null;
    };
    return map2(rows.size * columns.size, rows.n * columns.n, (cell, pixel) => {
        const a = tap(rows, Math.floor(cell / columns.size), Math.floor(pixel / columns.n));
        const b = tap(columns, cell % columns.size, pixel % columns.n);
        return a === null || b === null ? null : w[a][b];
    });
}

/** 3. Matrix: y = matrix times x, both written as one long column. */
function multiply(matrix, { x, axes: [rows, columns] }) {
    const flat = x.flat();
    const product = matrix.map((row) =>
        row.reduce((sum, weight, pixel) => (weight === null ? sum : sum + weight * flat[pixel]), 0),
    );
    return map2(rows.size, columns.size, (r, c) => product[r * columns.size + c]);
}

/** The taps of a phase along one axis by their offset: tap t leads to phase t d mod s, t d div s pixels on. */
function tapsOfPhase(axis, phase) {
    const taps = new Map();
    for (let tap = 0; tap < axis.k; tap++)
        if ((tap * axis.d) % axis.s === phase) taps.set(Math.floor((tap * axis.d) / axis.s), tap);
    return taps;
}

/** The small kernels, one for each phase; null in a kernel where dilation leaves a hole. */
function phasesOf({ w, axes: [rows, columns] }) {
    return map2(rows.s, columns.s, (p, q) => {
        const [down, across] = [tapsOfPhase(rows, p), tapsOfPhase(columns, q)];
        const length = (taps) => (taps.size ? Math.max(...taps.keys()) + 1 : 0);
        const empty = !down.size || !across.size;
        const kernel = map2(empty ? 0 : length(down), empty ? 0 : length(across), (m, n) =>
            down.has(m) && across.has(n) ? w[down.get(m)][across.get(n)] : null,
        );
        return { phase: [p, q], index: p * columns.s + q, down, across, kernel };
    }).flat();
}

/** One small convolution with stride 1: z[m] = sum of kernel[q] x[m - q], as far as any tap reaches. */
function convolve(x, kernel) {
    if (!kernel.length) return [];
    const z = zeros(x.length + kernel.length - 1, x[0].length + kernel[0].length - 1);
    return z.map((row, m) =>
        row.map((_, n) => {
            let sum = 0;
            kernel.forEach((line, a) =>
                line.forEach((weight, b) => {
                    const value = x[m - a]?.[n - b];
                    if (weight !== null && value !== undefined) sum += weight * value;
                }),
            );
            return sum;
        }),
    );
}

/** 4. Sub-pixel: the results of the small convolutions, interleaved. */
function interleave(phases, { x, axes: [rows, columns] }) {
    const results = phases.map(({ kernel }) => convolve(x, kernel));
    return map2(rows.size, columns.size, (r, c) => {
        const [fullRow, fullColumn] = [r + rows.begin, c + columns.begin];
        const z = results[modulo(fullRow, rows.s) * columns.s + modulo(fullColumn, columns.s)];
        return z[Math.floor(fullRow / rows.s)]?.[Math.floor(fullColumn / columns.s)] ?? 0;
    });
}

/** How many paintings reach each cell along one axis. */
const countsOf = (axis) =>
    Array.from({ length: Math.max(axis.size, 0) }, (_, out) => reaching(axis, out).length);

/** The first cell in which two of the results differ by more than rounding, or null. */
function disagreement(operation, results) {
    const [rows, columns] = operation.axes;
    for (let r = 0; r < rows.size; r++)
        for (let c = 0; c < columns.size; c++) {
            const products = termsOf(operation, [r, c]).map(({ value, weight }) => Math.abs(value * weight));
            const scale = products.reduce((sum, product) => sum + product, 0);
            const first = results.scatter[r][c];
            for (const [view, result] of Object.entries(results)) {
                const value = result[r][c];
                const equal = Object.is(value, first) || Math.abs(value - first) <= 1e-12 * scale;
                if (!equal) return { view, cell: [r, c], value, first };
            }
        }
    return null;
}

/** Everything that the views show of one operation. */
function compute(operation) {
    const matrix = matrixOf(operation);
    const phases = phasesOf(operation);
    const results = {
        scatter: scatter(operation),
        gather: gather(operation),
        matrix: multiply(matrix, operation),
        "sub-pixel": interleave(phases, operation),
    };
    const [down, across] = operation.axes.map(countsOf);
    return {
        ...operation,
        matrix,
        phases,
        results,
        y: results.scatter,
        counts: down.map((count) => across.map((other) => count * other)),
        disagreement: disagreement(operation, results),
    };
}
