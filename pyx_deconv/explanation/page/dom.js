// Small tools for the document: elements, and grids of cells with their numbers.

/** An element with its attributes and children; `class`, `text` and on... are understood. */
function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (name === "text") element.textContent = value;
        else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
}

const byId = (id) => document.getElementById(id);

/** How wide a cell has to be for its numbers, in pixels: narrower where there are many of them. */
function cellSize(numbers, columns, least = 0) {
    const roomy = columns <= 6 ? 42 : columns <= 10 ? 36 : columns <= 18 ? 32 : 28;
    const longest = numbers.reduce((most, number) => Math.max(most, format(number).length), 1);
    return Math.max(roomy, least, Math.ceil(longest * 8 + 8));
}

/** A table of cells with indices at its edges, to be hovered, clicked and walked through with the arrow keys.
 *
 * `kind` is what its cells stand for: "input" or "output" (then they choose the current cell), or null.
 * `toCell` takes a place in the table to a place in the array, or null where there is none.
 */
class Grid {
    constructor({
        label,
        rows,
        columns,
        kind = null,
        size,
        rowNames = null,
        columnNames = null,
        toCell = (p) => p,
    }) {
        Object.assign(this, { rows, columns, kind, toCell });
        this.cells = map2(rows, columns, () => {
            const cell = h("td", { role: kind ? "gridcell" : "cell", tabindex: kind ? "-1" : null });
            cell.parts = {};
            return cell;
        });
        this.where = new Map(this.cells.flatMap((line, r) => line.map((cell, c) => [cell, [r, c]])));
        const head = columnNames && [
            h(
                "thead",
                {},
                h(
                    "tr",
                    {},
                    rowNames ? h("td", { class: "corner", role: "presentation" }) : null,
                    ...columnNames.map((name) => h("th", { scope: "col", text: name })),
                ),
            ),
        ];
        const body = this.cells.map((line, r) =>
            h("tr", {}, rowNames ? h("th", { scope: "row", text: rowNames[r] }) : null, ...line),
        );
        this.table = h(
            "table",
            { class: `grid${kind ? " choosable" : ""}`, role: kind ? "grid" : "table", "aria-label": label },
            ...(head || []),
            h("tbody", {}, ...body),
        );
        if (size) this.table.style.setProperty("--size", `${size}px`);
        if (kind) this.listen();
        this.element = h("div", { class: "scroll" }, this.table);
    }

    listen() {
        const cellOf = (event) => {
            const place = this.where.get(event.target.closest("td"));
            return place ? this.toCell(place) : null;
        };
        this.table.addEventListener("pointerover", (event) => {
            if (event.pointerType !== "touch") peek(this.kind, cellOf(event));
        });
        this.table.addEventListener("pointerleave", () => peek(this.kind, null));
        this.table.addEventListener("focusin", (event) => {
            const cell = cellOf(event);
            if (cell) choose(this.kind, cell);
        });
        this.table.addEventListener("click", (event) => {
            const cell = cellOf(event);
            if (cell) choose(this.kind, cell);
        });
        this.table.addEventListener("keydown", (event) => this.walk(event));
    }

    /** The arrow keys lead to the next cell that stands for something. */
    walk(event) {
        const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[
            event.key
        ];
        let place = this.where.get(event.target);
        if (!step || !place) return;
        event.preventDefault();
        event.stopPropagation();
        do place = [place[0] + step[0], place[1] + step[1]];
        while (this.cells[place[0]]?.[place[1]] && !this.toCell(place));
        this.cells[place[0]]?.[place[1]]?.focus();
    }

    /** Draw every cell as `look(row, column)` says: {text, note, tag, class, style, label, current}. */
    draw(look) {
        this.cells.forEach((line, r) =>
            line.forEach((cell, c) => {
                const {
                    text = "",
                    note = "",
                    tag = "",
                    style = "",
                    label,
                    current = false,
                    ...rest
                } = look(r, c);
                const wanted = JSON.stringify([text, note, tag, style, label, current, rest.class]);
                if (cell.drawn === wanted) return;
                cell.drawn = wanted;
                cell.className = [rest.class ?? "", note && "noted", tag && "tagged"]
                    .filter(Boolean)
                    .join(" ");
                cell.style.cssText = style;
                for (const [name, content] of Object.entries({ value: text, note, tag })) {
                    if (content !== "" && !cell.parts[name])
                        cell.append(
                            (cell.parts[name] = h("span", {
                                class: name,
                                "aria-hidden": name === "value" ? null : "true",
                            })),
                        );
                    if (cell.parts[name]) cell.parts[name].textContent = content;
                }
                if (label) cell.setAttribute("aria-label", label);
                if (this.kind) {
                    cell.tabIndex = current ? 0 : -1;
                    cell.setAttribute("aria-selected", current ? "true" : "false");
                }
            }),
        );
    }
}

const indices = (count, from = 0) =>
    Array.from({ length: count }, (_, index) => `${index + from}`.replace("-", "−"));

/** The grid of an array that has an index at every row and column; in one dimension only at the columns. */
function arrayGrid(label, rows, columns, kind, size) {
    const rowNames = state.rank === 1 ? null : indices(rows);
    return new Grid({ label, rows, columns, kind, size, rowNames, columnNames: indices(columns) });
}

/** A grid of numbers. */
const numbersGrid = (label, values, kind = null, least = 0) =>
    arrayGrid(label, values.length, values[0].length, kind, cellSize(values.flat(), values[0].length, least));

/** Two figures, one under the other. */
const stacked = (...parts) => h("div", { class: "stacked" }, ...parts);

/** A grid under its title. */
const titled = (title, grid) => h("figure", {}, h("figcaption", { text: title }), grid.element);

const isSame = (a, b) => Boolean(a && b) && a[0] === b[0] && a[1] === b[1];

/** The colour of a phase: four hues, and where there are more than four phases, four strengths of them. */
function phaseStyle({ axes: [rows, columns] }, index) {
    const few = rows.s * columns.s <= 4;
    const hue = few ? index % 4 : (index % columns.s) % 4;
    const strength = few ? 1 : Math.floor(index / columns.s) % 4;
    return `--hue: var(--phase-${hue}); --strength: var(--strength-${strength})`;
}

/** Which phase an output cell belongs to. */
function phaseOf({ axes: [rows, columns] }, [r, c]) {
    return modulo(r + rows.begin, rows.s) * columns.s + modulo(c + columns.begin, columns.s);
}
