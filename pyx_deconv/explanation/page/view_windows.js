// Beside the four views: the full strip with everybody's window, and how many paintings reach each cell.

const windowsView = {
    build(operation) {
        this.operation = operation;
        const axes = operation.axes.slice(-operation.rank);
        const alike = axes.length === 2 && JSON.stringify(axes[0]) === JSON.stringify(axes[1]);
        const strips = alike
            ? [[axes[1], "rows and columns alike"]]
            : axes.map((axis, index) => [axis, axisNames(axes.length)[index]]);
        this.strips = strips.map(([axis, name], index) =>
            this.strip(axis, name, alike || axes.length === 1 ? 1 : index),
        );
        byId("windows").replaceChildren(...this.strips.map(({ element }) => element));
    },

    strip(axis, name, index) {
        const windows = windowsOf(axis);
        const from = Math.min(0, ...windows.map(({ begin }) => begin));
        const until = Math.max(axis.full, ...windows.map(({ begin, size }) => begin + size));
        const numbers =
            this.operation.rank === 1
                ? fullStrip(this.operation)
                : countsOf(axisOf(axis.n, axis.k, axis.s, axis.d, [0, 0], 0));
        const first = this.operation.rank === 1 ? "full" : "paintings";
        const grid = new Grid({
            label: `windows on the full strip, ${name}`,
            rows: windows.length + 1,
            columns: until - from,
            size: cellSize(numbers, Math.max(until - from, 12)),
            rowNames: [first, ...windows.map(({ name: who }) => who)],
            columnNames: indices(until - from, from),
        });
        grid.table.classList.add("windows");
        windows.forEach(({ begin, end, size }, row) => {
            const kept = size > 0 ? plural(size, "cell") : "nothing is left";
            const text = `${kept}: begin ${format(begin)}, end ${format(end)}`;
            grid.table.tBodies[0].rows[row + 1].append(h("td", { class: "note-cell", text }));
        });
        const sizes = `(${axis.n} − 1)·${axis.s} + (${axis.k} − 1)·${axis.d} + 1 = ${axis.full}`;
        const crop = [axis.begin, axis.cropped].map((count) => format(count)).join(" − ");
        const kept = `${axis.full} − ${crop} + ${axis.outputPadding} = ${format(axis.size)}`;
        const full = "full = (n − 1)·s + (k − 1)·d + 1";
        const window = "kept: full − begin − end + output_padding";
        const element = h(
            "section",
            { class: "strip" },
            h("h4", { text: name === "result" ? "The strip" : `Along an axis: ${name}` }),
            h("p", { class: "small", text: `${full} = ${sizes}; ${window} = ${kept}` }),
            grid.element,
            h("p", { class: "shift", text: windowsInWords(windows) }),
        );
        return { grid, element, windows, axis, index, from, numbers };
    },

    show(shown) {
        for (const { grid, windows, axis, index, from, numbers } of this.strips) {
            const lit = shown ? shown.output[index] + axis.begin : null;
            grid.draw((r, c) => {
                const at = c + from;
                const inside = at >= 0 && at < axis.full;
                const column = at === lit ? " in-row" : "";
                if (r === 0)
                    return {
                        text: inside ? format(numbers[at]) : "0",
                        class: `${inside ? "vector" : "beyond"}${column}`,
                    };
                const { begin, size, own } = windows[r - 1];
                const out = at - begin;
                if (out < 0 || out >= size) return { class: "cropped", label: "cropped" };
                return {
                    text: `${out}`,
                    class: `${inside ? (own ? "own" : "window") : "beyond"}${own ? column : ""}`,
                };
            });
        }
    },
};

/** The full result of one axis, before any crop. */
const fullStrip = ({ x, w, axes: [rows, columns] }) =>
    scatter({ x, w, axes: [rows, axisOf(columns.n, columns.k, columns.s, columns.d, [0, 0], 0)] })[0];

const overlapView = {
    build(operation) {
        this.operation = operation;
        const { counts } = operation;
        this.most = Math.max(1, ...counts.flat());
        this.grid = numbersGrid("how many paintings reach each cell of y", counts, "output");
        byId("overlap").replaceChildren(this.grid.element);
        byId("overlap-caption").textContent = overlapInWords(operation);
    },

    show({ output }) {
        const { counts } = this.operation;
        this.grid.draw((r, c) => ({
            text: `${counts[r][c]}`,
            class: `count${isSame([r, c], output) ? " lit" : ""}`,
            style: `--share: ${Math.round((100 * counts[r][c]) / this.most)}%`,
            label: `${plural(counts[r][c], "painting")} at ${place("y", [r, c])}`,
            current: isSame([r, c], output),
        }));
    },
};

/** Whether the overlap is even, and whether that is enough against a checkerboard. */
function overlapInWords({ rank, phases, counts }) {
    const tapsOf = phases.map(({ kernel }) => kernel.flat().filter((weight) => weight !== null));
    const numbers = [...new Set(tapsOf.map((taps) => taps.length))].sort((a, b) => a - b);
    const unreached = tapsOf.filter((taps) => !taps.length).length;
    const found = [...new Set(counts.flat())].sort((a, b) => a - b);
    const noun = `${found}` === "1" ? "painting" : "paintings";
    const here = `Cells get ${list(found.map(String))} ${noun}. `;
    if (phases.length === 1) return `${here}With stride 1 the overlap is even but for the border.`;
    if (numbers[0] === 0)
        return `${here}The kernel does not reach ${plural(unreached, "phase")}: there y stays 0.`;
    if (numbers.length > 1)
        return (
            `${here}The phases have ${list(numbers.map(String))} taps: the overlap is uneven, and a constant input ` +
            `comes out ${rank === 1 ? "in stripes" : "as a checkerboard"}.`
        );
    const sums = tapsOf.map((taps) => taps.reduce((sum, weight) => sum + weight, 0));
    const uneven = sums.some((sum) => Math.abs(sum - sums[0]) > 1e-9 * Math.max(...sums.map(Math.abs)));
    return (
        `${here}Every phase has ${plural(numbers[0], "tap")}: the overlap is even but for the border. ` +
        (uneven
            ? "That is no guarantee: the taps of the phases have different sums, so a constant input still " +
              "shows a pattern."
            : "The taps of every phase have the same sum, so a constant input stays constant inside.")
    );
}
