// View 4: the kernel falls apart into one small kernel per phase; each is a convolution with stride 1.

const phasesView = {
    build(operation) {
        this.operation = operation;
        const { phases, y, w } = operation;
        const size = cellSize([...y.flat(), ...w.flat()], 20);
        this.panels = phases.map((phase) => this.panel(phase, size));
        this.output = numbersGrid("output y, interleaved", y, "output");
        byId("phases").replaceChildren(
            h("div", { class: "panels" }, ...this.panels.map(({ element }) => element)),
            titled("interleaved: output y", this.output),
        );
        const {
            axes: [rows, columns],
        } = operation;
        const strides = operation.rank === 1 ? `${columns.s}` : times([rows.s, columns.s]);
        byId("phases-size").textContent =
            phases.length === 1
                ? "With stride 1 there is one phase: the small kernel is the whole kernel."
                : `Stride ${strides}: ${phases.length} phases share the kernel's ${plural(w.flat().length, "tap")}.`;
    },

    /** The small kernel of one phase, and the cells of y that it gives. */
    panel(phase, size) {
        const { operation } = this;
        const {
            axes: [rows, columns],
            rank,
        } = operation;
        const { kernel, index } = phase;
        const ofPhase = (axis, wanted) =>
            [...Array(axis.size).keys()].filter((out) => modulo(out + axis.begin, axis.s) === wanted);
        const [down, across] = [ofPhase(rows, phase.phase[0]), ofPhase(columns, phase.phase[1])];
        const taps = kernel.flat().filter((weight) => weight !== null);
        const made = { index, taps, down, across };
        const name = rank === 1 ? `${phase.phase[1]}` : phase.phase.join(", ");
        const parts = [];
        if (taps.length) {
            made.kernel = new Grid({
                label: `small kernel of phase ${letter(index)}`,
                rows: kernel.length,
                columns: kernel[0].length,
                size,
            });
            made.kernel.draw((a, b) => ({
                text: kernel[a][b] === null ? "" : format(kernel[a][b]),
                class: kernel[a][b] === null ? "none" : "phase",
                style: phaseStyle(operation, index),
            }));
            parts.push(titled("small kernel", made.kernel));
        } else parts.push(h("p", { class: "small", text: "its cells stay 0" }));
        if (taps.length && down.length && across.length) {
            made.grid = new Grid({
                label: `cells of y in phase ${letter(index)}`,
                rows: down.length,
                columns: across.length,
                kind: "output",
                size,
                toCell: ([m, n]) => [down[m], across[n]],
            });
            parts.push(sign("→"), titled("its cells", made.grid));
        } else if (taps.length) parts.push(h("p", { class: "small", text: "no cell of y is in this phase" }));
        const sum = taps.reduce((total, weight) => total + weight, 0);
        const title = operation.phases.length === 1 ? "the only phase" : `phase ${letter(index)} (${name})`;
        made.element = h(
            "section",
            { class: "panel", "aria-label": `phase ${letter(index)}` },
            h(
                "h4",
                {},
                h("span", { class: "phase-name", style: phaseStyle(operation, index), text: title }),
                h("span", {
                    class: "small",
                    text: taps.length ? `${plural(taps.length, "tap")}, sum ${format(sum)}` : "no tap",
                }),
            ),
            h("div", { class: "row" }, ...parts),
        );
        return made;
    },

    show({ output }) {
        const { operation } = this;
        const { y } = operation;
        const current = phaseOf(operation, output);
        const name = ([r, c]) =>
            `${place("y", [r, c])} = ${format(y[r][c])}, phase ${letter(phaseOf(operation, [r, c]))}`;
        const draw = (grid, toCell) =>
            grid.draw((r, c) => {
                const cell = toCell([r, c]);
                const look = phaseLook(operation, cell, output);
                return { ...look, class: `${look.class}${look.current ? " lit" : ""}`, label: name(cell) };
            });
        for (const { index, grid, element } of this.panels) {
            element.classList.toggle("active", index === current);
            if (grid) draw(grid, grid.toCell);
        }
        draw(this.output, (cell) => cell);
        const used = operation.terms(output).length;
        const { taps } = this.panels[current];
        const from = operation.phases.length === 1 ? "the kernel" : `small kernel ${letter(current)}`;
        byId("phases-caption").textContent =
            `${place("y", output)} comes from ${from}: ${used} of its ${plural(taps.length, "tap")} ` +
            `${used === 1 ? "meets" : "meet"} a pixel.`;
    },
};
