// The state of the page, and what changes it: everything goes through move, reset, choose, peek and step.

const VIEWS = [scatterView, gatherView, matrixView, phasesView, windowsView, overlapView];

/** given: what Python gave. settings: where the sliders are. result: everything computed from them, or null
 * where they are impossible. pinned: the current {input, output, lead}. peeked: the same while the pointer
 * rests on a cell. */
const state = { given: JSON.parse(byId("given").textContent), timer: null, peeked: null, result: null };
state.rank = state.given.stride.length;

/** Take new settings: compute, and draw everything anew. */
function take(settings) {
    state.settings = settings;
    state.peeked = null;
    const operation = operationOf(state.given, settings);
    const problem = impossible(operation);
    state.problem = problem;
    showSettings(settings);
    byId("problem").hidden = !problem;
    byId("problem").textContent = problem ?? "";
    byId("views").hidden = Boolean(problem);
    byId("overlap-card").hidden = Boolean(problem);
    const sizes = ([rows, columns], size) =>
        times((state.rank === 1 ? [columns] : [rows, columns]).map((axis) => axis[size]));
    byId("size").textContent = problem
        ? "Nothing is left"
        : `${sizes(operation.axes, "n")} becomes ${sizes(operation.axes, "size")}`;
    const what = [
        "Transposed convolution",
        `kernel ${times(settings.kernel)}`,
        `stride ${perAxis(settings.stride)}`,
    ];
    byId("what").textContent = what.join(" · ");
    if (problem) {
        pause();
        state.result = null;
        windowsView.build(operation);
        windowsView.show(null);
        showAgreement(null);
        byId("step").textContent = "There is nothing to step through.";
        return;
    }
    state.result = compute(operation);
    state.result.terms = (cell) => termsOf(operation, cell);
    state.pinned = follow({ lead: state.pinned?.lead ?? "input", input: [0, 0], output: [0, 0] });
    const width = operation.axes[1].full;
    byId("views").classList.toggle("wide", width > 11 || state.result.phases.length > 4);
    byId("views").classList.toggle("huge", width > 18);
    for (const view of VIEWS) view.build(state.result);
    showAgreement(state.result.disagreement);
    showEverything();
}

const move = (name, value) => take(moved(state.settings, name, value));
const reset = () => take(settingsOf(state.given));

/** The cell that does not lead goes where it belongs to the one that does, unless it already does. */
function follow(focus) {
    const { result } = state;
    const belongs = (cell) => result.terms(cell).some(({ pixel }) => isSame(pixel, focus.input));
    if (focus.lead === "output") {
        const terms = result.terms(focus.output);
        return belongs(focus.output) || !terms.length ? focus : { ...focus, input: terms[0].pixel };
    }
    if (belongs(focus.output)) return focus;
    const cells = result.y.flatMap((line, r) => line.map((_, c) => [r, c]));
    return { ...focus, output: cells.find(belongs) ?? focus.output };
}

/** Make a cell the current one, for good. */
function choose(kind, cell) {
    if (state.pinned.lead === kind && isSame(state.pinned[kind], cell) && !state.peeked) return;
    state.pinned = follow({ ...state.pinned, lead: kind, [kind]: cell });
    state.peeked = null;
    showEverything();
}

/** Make a cell the current one while the pointer rests on it; null: no longer. */
function peek(kind, cell) {
    state.peeked = cell && follow({ ...state.pinned, lead: kind, [kind]: cell });
    showEverything();
}

/** The sizes of what is walked through. */
const walked = (lead) => state.result.axes.map((axis) => (lead === "input" ? axis.n : axis.size));

/** Go to the next cell, or the one before; after the last comes the first. */
function step(by) {
    if (!state.result) return;
    const { lead } = state.pinned;
    const [rows, columns] = walked(lead);
    const [r, c] = state.pinned[lead];
    const next = (r * columns + c + by + rows * columns) % (rows * columns);
    state.peeked = null;
    state.pinned = follow({ ...state.pinned, [lead]: [Math.floor(next / columns), next % columns] });
    showEverything();
}

function play() {
    if (!state.result || state.timer) return;
    const wait = () => 1000 / Number(byId("speed").value);
    const next = () => {
        if (!state.peeked) step(1);
        state.timer = setTimeout(next, wait());
    };
    state.timer = setTimeout(next, wait());
    showPlaying();
}

function pause() {
    clearTimeout(state.timer);
    state.timer = null;
    showPlaying();
}

function showPlaying() {
    byId("play").setAttribute("aria-label", state.timer ? "Pause" : "Play");
    byId("play").classList.toggle("playing", Boolean(state.timer));
}

function showEverything() {
    if (!state.result) return;
    const shown = state.peeked ?? state.pinned;
    for (const view of VIEWS) view.show(shown);
    byId("step").textContent = stepInWords(shown);
    for (const kind of ["input", "output"]) byId(`walk-${kind}`).checked = shown.lead === kind;
}

function stepInWords({ lead, input, output }) {
    const { result } = state;
    const [rows, columns] = walked(lead);
    const [r, c] = lead === "input" ? input : output;
    const counter = `${lead === "input" ? "Pixel" : "Cell"} ${r * columns + c + 1} of ${rows * columns}. `;
    if (lead === "input") {
        const value = format(result.x[r][c]);
        return `${counter}${place("x", input)} = ${value} paints the kernel times ${value}.`;
    }
    const terms = result.terms(output);
    const value = format(result.y[r][c]);
    const pixels = list(terms.slice(0, 4).map(({ pixel }) => place("x", pixel)));
    const who = terms.length
        ? `comes from ${pixels}${terms.length > 4 ? ", and others" : ""}`
        : "is reached by no pixel";
    return `${counter}${place("y", output)} = ${value} ${who}.`;
}

/** The mark that the four views agree, or what is wrong. */
function showAgreement(disagreement) {
    const mark = byId("agreement");
    mark.className = disagreement ? "wrong" : "right";
    mark.hidden = !state.result;
    mark.textContent = disagreement
        ? `✗ The views disagree: ${place("y", disagreement.cell)} is ` +
          `${format(disagreement.first)} by scatter, ` +
          `${format(disagreement.value)} by ${disagreement.view}.`
        : "✓ all four views agree";
}

function listen() {
    byId("back").addEventListener("click", () => (pause(), step(-1)));
    byId("forward").addEventListener("click", () => (pause(), step(1)));
    byId("play").addEventListener("click", () => (state.timer ? pause() : play()));
    byId("reset").addEventListener("click", reset);
    for (const lead of ["input", "output"])
        byId(`walk-${lead}`).addEventListener("change", () => {
            if (state.result) choose(lead, state.pinned[lead]);
        });
    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        // A control that is in focus uses these keys itself.
        const own = event.target.closest("input, select, summary");
        if (own || (event.target.closest("button") && event.key === " ")) return;
        const action = {
            ArrowRight: () => step(1),
            ArrowLeft: () => step(-1),
            " ": () => (state.timer ? pause() : play()),
        };
        if (!action[event.key]) return;
        event.preventDefault();
        if (event.key !== " ") pause();
        action[event.key]();
    });
}

buildSliders();
buildTheme();
listen();
byId("settings").open = innerWidth >= 900;
reset();
document.documentElement.classList.add("ready");
