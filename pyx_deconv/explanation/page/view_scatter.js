// View 1: every input pixel paints the kernel. The full result is shown, with the window that padding leaves.

/** Along one axis: which places of the full result, and beyond it, are drawn. */
function extent(axis) {
    const from = Math.min(0, axis.begin);
    return { from, count: Math.max(axis.full, axis.begin + axis.size) - from };
}

/** Where an input pixel paints: {row,column of the full result: [tap, product]}. */
function paintingOf({ x, w, axes: [rows, columns] }, [i, j]) {
    const painting = new Map();
    for (let a = 0; a < rows.k; a++)
        for (let b = 0; b < columns.k; b++)
            painting.set(`${i * rows.s + a * rows.d},${j * columns.s + b * columns.d}`, {
                tap: [a, b],
                product: x[i][j] * w[a][b],
            });
    return painting;
}

const scatterView = {
    build(operation) {
        this.operation = operation;
        const { x, w, axes } = operation;
        const [down, across] = axes.map(extent);
        this.from = [down.from, across.from];
        this.input = numbersGrid("input x", x, "input");
        this.kernel = numbersGrid("kernel", w);
        this.canvas = new Grid({
            label: "sum of the paintings, before padding crops it",
            rows: down.count,
            columns: across.count,
            kind: "output",
            size: cellSize(operation.y.flat(), across.count, 34),
            rowNames: operation.rank === 1 ? null : indices(down.count, down.from),
            columnNames: indices(across.count, across.from),
            toCell: ([r, c]) => {
                const cell = [r + down.from - axes[0].begin, c + across.from - axes[1].begin];
                return cell.every((place, axis) => place >= 0 && place < axes[axis].size) ? cell : null;
            },
        });
        const cropped = axes.some((axis) => axis.begin > 0 || axis.end > 0);
        this.framed = cropped || axes.some((axis) => axis.begin < 0 || axis.end < 0);
        const beyond = axes.some((axis) => axis.begin < 0 || axis.end < 0);
        byId("scatter").replaceChildren(
            stacked(titled("input x", this.input), titled("times the kernel", this.kernel)),
            ...(operation.rank > 1 ? [sign("→")] : []), // lines stand below one another
            titled("sum of the paintings so far", this.canvas),
        );
        byId("scatter-key").replaceChildren(
            swatch("pixel", "", "current pixel"),
            swatch("painted", "+6", "what it adds"),
            swatch("lit", "", "current cell of y"),
            ...(cropped ? [swatch("cropped", "", "cropped by padding; the frame is what is kept")] : []),
            ...(beyond ? [swatch("beyond", "0", "beyond all paintings: zeros are appended")] : []),
        );
    },

    show({ input, output }) {
        const { operation } = this;
        const { x, w, axes } = operation;
        const [rows, columns] = axes;
        const painting = paintingOf(operation, input);
        const reached = operation.terms(output).find(({ pixel }) => isSame(pixel, input));
        this.input.draw((i, j) => ({
            text: format(x[i][j]),
            label: `${place("x", [i, j])} = ${format(x[i][j])}`,
            class: isSame([i, j], input)
                ? "pixel"
                : i * columns.n + j < input[0] * columns.n + input[1]
                  ? "done"
                  : "",
            current: isSame([i, j], input),
        }));
        this.kernel.draw((a, b) => ({
            text: format(w[a][b]),
            class: reached && isSame(reached.tap, [a, b]) ? "painted lit" : "painted",
        }));

        const sums = new Map();
        const last = input[0] * columns.n + input[1];
        for (let pixel = 0; pixel <= last; pixel++)
            for (const [key, { product }] of paintingOf(operation, [
                Math.floor(pixel / columns.n),
                pixel % columns.n,
            ]))
                sums.set(key, (sums.get(key) ?? 0) + product);
        this.canvas.draw((r, c) => {
            const full = [r + this.from[0], c + this.from[1]];
            const key = full.join();
            const cell = this.canvas.toCell([r, c]);
            const painted = painting.get(key);
            const inside = full.every((place, axis) => place >= 0 && place < axes[axis].full);
            const looks = [
                painted ? "painted" : "",
                cell ? this.framed && edges(cell, axes) : "cropped",
                inside ? "" : "beyond",
            ];
            if (isSame(cell, output)) looks.push("lit");
            const text = inside ? (sums.has(key) ? format(sums.get(key)) : "") : "0";
            const note = painted ? `+${format(painted.product)}`.replace("+−", "−") : "";
            const name = cell ? place("y", cell) : "cropped";
            return {
                text,
                note,
                class: looks.filter(Boolean).join(" "),
                label: `${name}: ${text || "nothing yet"}${note && `, of it ${note} now`}`,
                current: isSame(cell, output),
            };
        });

        const value = format(x[input[0]][input[1]]);
        const number = `${place("x", input)} = ${value}`;
        byId("scatter-caption").textContent =
            `${number} paints ${plural(w.flat().length, "cell")}: every tap times ${value}. ` +
            `${plural(last + 1, "painting")} of ${rows.n * columns.n} so far.`;
    },
};

/** At which edges of the window an output cell lies: there the frame is drawn. */
function edges([r, c], [rows, columns]) {
    const at = { top: r === 0, bottom: r === rows.size - 1, left: c === 0, right: c === columns.size - 1 };
    return ["kept", ...Object.keys(at).filter((edge) => at[edge])].join(" ");
}

/** A sign between two figures. */
const sign = (text) => h("span", { class: "sign", "aria-hidden": "true", text });

/** An entry of the key to what cells look like. */
const swatch = (looks, text, meaning) =>
    h("li", {}, h("span", { class: `swatch ${looks}`, "aria-hidden": "true", text }), meaning);
