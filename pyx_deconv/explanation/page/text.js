// Numbers and places as words. Every place is a pair (row, column); in one dimension the row is always 0.

/** A number in at most so many significant digits; whole numbers up to 99999 as they are. */
function format(value, digits = 3) {
    if (Number.isInteger(value) && Math.abs(value) < 100000)
        return `${Math.abs(value) && value}`.replace("-", "−");
    const rounded = Number(value.toPrecision(digits));
    const size = Math.abs(rounded);
    const text = size >= 10 ** (digits + 1) || size < 0.001 ? rounded.toExponential() : `${rounded}`;
    return text.replace("e+", "e").replaceAll("-", "−");
}

/** Whether what `format` shows is all of the number. */
const isShownExactly = (value, digits) => Number(format(value, digits).replaceAll("−", "-")) === value;

const plural = (count, word, words = `${word}s`) => `${count} ${count === 1 ? word : words}`;

/** x[1, 2], or x[2] in one dimension. */
const place = (name, [row, column]) => `${name}[${state.rank === 1 ? column : `${row}, ${column}`}]`;

/** "2 × 3" of sizes per axis. */
const times = (sizes) => sizes.join(" × ");

/** What a setting is on the axes: one value where they are alike. */
function perAxis(values) {
    const texts = values.map((value) => (Array.isArray(value) ? pairText(value) : `${value}`));
    return texts.every((text) => text === texts[0]) ? texts[0] : `(${texts.join(", ")})`;
}

const pairText = ([begin, end]) => (begin === end ? `${begin}` : `(${begin}, ${end})`);

/** "a", "a and b", "a, b and c". */
const list = (words) =>
    words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;

const letter = (index) =>
    (index < 26 ? "" : letter(Math.floor(index / 26) - 1)) + "abcdefghijklmnopqrstuvwxyz"[index % 26];
