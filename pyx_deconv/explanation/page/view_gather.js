// View 2: one output cell collects what reaches it. Numbers on the terms tie pixel, tap and product together.

const FORMULA_DIGITS = 6;

/** "1·6 + 2·5 = 16", with brackets around what is negative. */
function formulaText(terms, value) {
    const factor = (number) => {
        const text = format(number, FORMULA_DIGITS);
        return text.startsWith("−") ? `(${text})` : text;
    };
    const products = terms.map((term) => `${factor(term.value)}·${factor(term.weight)}`);
    const exact =
        isShownExactly(value, FORMULA_DIGITS) &&
        terms.every(
            (t) => isShownExactly(t.value, FORMULA_DIGITS) && isShownExactly(t.weight, FORMULA_DIGITS),
        );
    return `${products.join(" + ") || "nothing reaches it"} ${exact ? "=" : "≈"} ${format(value, FORMULA_DIGITS)}`;
}

/** The legend of the phases, where there is more than one. */
function phaseKey(operation) {
    if (operation.phases.length === 1) return [];
    return operation.phases.map(({ index, phase }) => {
        const entry = swatch("phase", letter(index), operation.rank === 1 ? `${phase[1]}` : phase.join(", "));
        entry.firstChild.style.cssText = phaseStyle(operation, index);
        return entry;
    });
}

/** How an output cell looks that is coloured by its phase. */
function phaseLook(operation, cell, output) {
    const index = phaseOf(operation, cell);
    return {
        text: format(operation.y[cell[0]][cell[1]]),
        tag: operation.phases.length > 1 ? letter(index) : "",
        style: phaseStyle(operation, index),
        class: operation.phases.length > 1 ? "phase" : "",
        current: isSame(cell, output),
    };
}

const gatherView = {
    build(operation) {
        this.operation = operation;
        const { x, w, y } = operation;
        this.input = numbersGrid("input x", x, "input");
        this.kernel = numbersGrid("kernel", w);
        this.output = numbersGrid("output y, coloured by phase", y, "output", 34);
        byId("gather").replaceChildren(
            titled("output y", this.output),
            ...(operation.rank > 1 ? [sign("←")] : []), // lines stand below one another
            stacked(titled("input x", this.input), titled("times the kernel", this.kernel)),
        );
        const key = phaseKey(operation);
        byId("gather-key").replaceChildren(
            ...(key.length
                ? [h("li", { class: "key-title", text: "Phase, (index + begin) modulo stride:" }), ...key]
                : []),
        );
    },

    show({ input, output }) {
        const { operation } = this;
        const { x, w, y } = operation;
        const terms = operation.terms(output);
        const number = (role, at) => terms.findIndex((term) => isSame(term[role], at)) + 1;
        this.output.draw((r, c) => {
            const look = phaseLook(operation, [r, c], output);
            const label = `${place("y", [r, c])} = ${look.text}${look.tag && `, phase ${look.tag}`}`;
            return { ...look, class: `${look.class}${look.current ? " lit" : ""}`, label };
        });
        this.input.draw((i, j) => {
            const term = number("pixel", [i, j]);
            const value = format(x[i][j]);
            return {
                text: value,
                tag: term ? `${term}` : "",
                class: `${term ? "term" : "idle"}${isSame([i, j], input) ? " current" : ""}`,
                label: `${place("x", [i, j])} = ${value}${term ? `, term ${term}` : ", does not reach it"}`,
                current: isSame([i, j], input),
            };
        });
        this.kernel.draw((a, b) => {
            const term = number("tap", [a, b]);
            return { text: format(w[a][b]), tag: term ? `${term}` : "", class: term ? "term" : "idle" };
        });
        byId("formula").textContent =
            `${place("y", output)} = ${formulaText(terms, y[output[0]][output[1]])}`;
        const phase =
            operation.phases.length > 1 ? ` It belongs to phase ${letter(phaseOf(operation, output))}.` : "";
        const who =
            terms.length === 0
                ? "No pixel reaches"
                : terms.length === 1
                  ? "1 pixel reaches"
                  : `${terms.length} pixels reach`;
        byId("gather-caption").textContent = `${who} ${place("y", output)}.${phase}`;
    },
};
