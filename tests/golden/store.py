"""Golden vectors on disk: what a framework was asked, in its own words and axis order, and what it answered.

Two files for each framework. ``<framework>.json`` holds the versions and, one line for each case, the name,
the settings under the framework's own argument names, and the shapes. ``<framework>.npz`` holds one flat
array for each role ("x", "weight", "bias", "y", "grad_y", "grad_x", "grad_weight", "grad_bias"): the cases'
values one after another, each in C order. All values are integers that the framework computed exactly, so
that no version and no machine may differ in any bit.
"""

import dataclasses
import json
import math
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
ROLES = ("x", "weight", "bias", "y", "grad_y", "grad_x", "grad_weight", "grad_bias")


@dataclasses.dataclass
class Case:
    """One call: `settings` and the axis order of `arrays` are the framework's own."""

    name: str
    settings: dict
    arrays: dict[str, np.ndarray]
    seed: int = 0  # of grad_y, which is drawn when the shape of y is known
    exact: bool = True  # integer values, or normally distributed ones
    note: str = ""  # what the framework refused or answered wrongly


def draw(shape, dtype, seed, exact):
    """Values of which neighbours differ: small integers without zero, or normally distributed numbers."""
    rng = np.random.default_rng(seed)

    def part():
        if not exact:
            return rng.standard_normal(shape)
        return rng.integers(1, 21, shape) * rng.choice([-1, 1], shape)

    values = part() + 1j * part() if np.dtype(dtype).kind == "c" else part()
    return values.astype(dtype)


def save(framework, cases, versions):
    """Write both files; refuses values that are not integers."""
    lines = []
    for case in cases:
        shapes = {role: list(case.arrays[role].shape) for role in ROLES if role in case.arrays}
        is_complex = case.arrays["y"].dtype.kind == "c"
        record = {"name": case.name, "complex": is_complex, "settings": case.settings, "shapes": shapes}
        lines.append(json.dumps(record | ({"note": case.note} if case.note else {})))
    head = json.dumps({"framework": framework, "versions": versions})[1:-1]
    text = f'{{{head},\n"cases": [\n' + ",\n".join(lines) + "\n]}\n"
    (FOLDER / f"{framework}.json").write_text(text)
    np.savez_compressed(FOLDER / f"{framework}.npz", **{role: _flat(cases, role) for role in ROLES})


def _flat(cases, role):
    """All values of one role as the smallest integer type; a complex value is two, real part first."""
    parts = []
    for case in cases:
        if role in case.arrays:
            values = np.ascontiguousarray(case.arrays[role]).ravel()
            parts.append(values.view(values.real.dtype).astype(np.float64))
    flat = np.concatenate(parts) if parts else np.zeros(0)
    whole = flat.astype(np.int64)
    if not np.array_equal(whole, flat):
        raise ValueError(f"{role}: golden vectors must be integers")
    smallest = np.result_type(
        np.min_scalar_type(whole.min(initial=-1)), np.min_scalar_type(-abs(whole).max(initial=1))
    )
    return whole.astype(smallest)


def load(framework):
    """(cases, versions) as saved, with float64 or complex128 arrays."""
    header = json.loads((FOLDER / f"{framework}.json").read_text())
    with np.load(FOLDER / f"{framework}.npz") as archive:
        flat = {role: archive[role].astype(np.float64) for role in ROLES}
    position = dict.fromkeys(ROLES, 0)
    cases = []
    for record in header["cases"]:
        arrays = {}
        for role, shape in record["shapes"].items():
            count = math.prod(shape) * (2 if record["complex"] else 1)
            values = flat[role][position[role] : position[role] + count]
            position[role] += count
            arrays[role] = (values.view(np.complex128) if record["complex"] else values).reshape(shape)
        cases.append(Case(record["name"], record["settings"], arrays, note=record.get("note", "")))
    assert all(position[role] == flat[role].size for role in ROLES), f"{framework}: the two files do not fit"
    return cases, header["versions"]
