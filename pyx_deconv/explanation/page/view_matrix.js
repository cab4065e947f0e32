// View 3: the same numbers as a matrix. Small matrices show every number; large ones are drawn as dots.

const LARGEST_TABLE = 1200; // entries
const DOT = 6; // pixels of an entry where they are dots

const matrixView = {
    build(operation) {
        this.operation = operation;
        const {
            x,
            y,
            matrix,
            axes: [rows, columns],
        } = operation;
        const [height, width] = [matrix.length, matrix[0].length];
        this.small = height * width <= LARGEST_TABLE;
        byId("matrix-size").textContent =
            `${height} × ${width}: ${plural(height, "output cell")} from ${plural(width, "input pixel")}.`;
        if (!this.small) return this.buildDots(height, width);
        const numbers = [...matrix.flat().filter((weight) => weight !== null), ...x.flat(), ...y.flat()];
        const wide = place("x", [rows.n - 1, columns.n - 1]);
        this.grid = new Grid({
            label: "the matrix, with x above it and y beside it",
            rows: height + 1,
            columns: width + 1,
            kind: "output",
            size: Math.max(cellSize(numbers, width), state.rank === 1 ? 34 : 7 * wide.length + 6),
            rowNames: ["x", ...y.flatMap((line, r) => line.map((_, c) => place("y", [r, c])))],
            columnNames: [...x.flatMap((line, i) => line.map((_, j) => place("x", [i, j]))), "y"],
            toCell: ([r, c]) =>
                r === 0 ? null : [Math.floor((r - 1) / columns.size), (r - 1) % columns.size],
        });
        this.grid.table.classList.add("matrix");
        byId("matrix").replaceChildren(this.grid.element);
    },

    buildDots(height, width) {
        this.canvas = h("canvas", {
            width: width * DOT,
            height: height * DOT,
            class: "dots",
            role: "img",
            "aria-label": `the matrix, ${height} × ${width}, as dots`,
            onclick: ({ offsetX, offsetY }) => {
                const [down, across] = this.operation.axes;
                const [cell, pixel] = [Math.floor(offsetY / DOT), Math.floor(offsetX / DOT)];
                choose("input", [Math.floor(pixel / across.n), pixel % across.n]);
                choose("output", [Math.floor(cell / across.size), cell % across.size]);
            },
        });
        byId("matrix").replaceChildren(
            h(
                "div",
                { class: "scroll", tabindex: "0", role: "group", "aria-label": "the matrix" },
                this.canvas,
            ),
            h("p", {
                class: "small",
                text: "Too many numbers to write: every dot is a tap, an empty place is no tap.",
            }),
        );
    },

    show({ input, output }) {
        const {
            matrix,
            axes: [, columns],
        } = this.operation;
        const row = output[0] * columns.size + output[1];
        const column = input[0] * columns.n + input[1];
        if (this.small) this.showNumbers(row, column);
        else this.showDots(row, column);
        const weight = matrix[row][column];
        const taps = (entries) => plural(entries.filter((entry) => entry !== null).length, "tap");
        byId("matrix-caption").textContent =
            `Row ${place("y", output)} has ${taps(matrix[row])}, column ${place("x", input)} has ` +
            `${taps(matrix.map((line) => line[column]))}; where they cross ` +
            (weight === null ? "there is none." : `is ${format(weight)}.`);
    },

    showNumbers(row, column) {
        const {
            matrix,
            x,
            axes: [rows, columns],
        } = this.operation;
        const flatX = x.flat();
        const name = (array, index, width) => place(array, [Math.floor(index / width), index % width]);
        const line = this.grid.cells[row + 1][0];
        scrollBox(this.grid.element, () => [line.offsetTop, line.offsetHeight]);
        this.grid.draw((r, c) => {
            const [lineLit, pixelLit] = [r - 1 === row, c === column];
            if (r === 0) {
                const value = c < flatX.length ? format(flatX[c]) : "";
                if (!value) return { class: "blank", label: "nothing" };
                return {
                    text: value,
                    class: pixelLit ? "pixel" : "vector",
                    label: `${name("x", c, columns.n)} = ${value}`,
                };
            }
            if (c === flatX.length) {
                const cell = [Math.floor((r - 1) / columns.size), (r - 1) % columns.size];
                const look = phaseLook(this.operation, cell, null);
                const label = `${place("y", cell)} = ${look.text}`;
                return {
                    ...look,
                    class: `${look.class || "vector"}${lineLit ? " lit" : ""}`,
                    current: lineLit,
                    label,
                };
            }
            const weight = matrix[r - 1][c];
            const looks = [weight === null ? "none" : "tap"];
            if (lineLit) looks.push("in-row");
            if (pixelLit) looks.push("in-column");
            if (r > 1 && (r - 1) % columns.size === 0) looks.push("block-above");
            if (c > 0 && c % columns.n === 0 && rows.n > 1) looks.push("block-left");
            const text = weight === null ? "" : format(weight);
            const label = `${name("x", c, columns.n)} to ${name("y", r - 1, columns.size)}: ${text || "no tap"}`;
            return { text, class: looks.join(" "), label };
        });
    },

    showDots(row, column) {
        const { matrix } = this.operation;
        const pen = this.canvas.getContext("2d");
        const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        const [plain, inRow, inColumn, ground] = ["--dot", "--output", "--pixel", "--cell"].map(colour);
        pen.fillStyle = ground;
        pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
        pen.globalAlpha = 0.35;
        pen.fillStyle = inRow;
        pen.fillRect(0, row * DOT, this.canvas.width, DOT);
        pen.fillStyle = inColumn;
        pen.fillRect(column * DOT, 0, DOT, this.canvas.height);
        pen.globalAlpha = 1;
        matrix.forEach((line, r) =>
            line.forEach((weight, c) => {
                if (weight === null) return;
                pen.fillStyle = r === row ? inRow : c === column ? inColumn : plain;
                pen.fillRect(c * DOT + 1, r * DOT + 1, DOT - 2, DOT - 2);
            }),
        );
        scrollBox(this.canvas.parentElement, () => [row * DOT, DOT]);
    },
};

/** Scroll a box, and never the page, until `place`, which gives [top, height], is seen in it. */
function scrollBox(box, place) {
    requestAnimationFrame(() => {
        const [top, height] = place();
        if (top < box.scrollTop || top + height > box.scrollTop + box.clientHeight)
            box.scrollTop = Math.max(0, top - box.clientHeight / 2);
    });
}
