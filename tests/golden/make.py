"""Make the golden vectors: ``python tests/golden/make.py [pytorch|keras|onnx|jax ...]``, by default all.

Needs the framework (torch; keras with tensorflow and jax; onnx and onnxruntime; jax). Each one is asked in
a process of its own, because their thread pools and global settings do not share one. Where a framework has
several implementations, all are asked. An answer counts if it has the size that the framework's own documents
state, and fulfils the adjoint identity <grad_x, x> == <grad_y, y - bias>, which holds for the true operation
whatever its padding. Every answer that does not, and every difference, is recorded in the case's note.
"""

import pathlib
import pickle
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from golden import cases as requests
from golden import evaluators, store

# The implementation whose word is taken, then the ones that are compared with it.
IMPLEMENTATIONS = {
    "pytorch": ["pytorch"],
    "keras": ["keras-tensorflow", "keras-jax"],
    "onnx": ["onnxruntime", "onnx-reference-by-group", "onnx-reference"],
    "jax": ["jax"],
}


def ask(evaluator, cases):
    """(answers, versions) from a process of its own; a case that ends the process is noted as refused."""
    cases, answers, versions = list(cases), [], {}
    while len(answers) < len(cases) or not versions:
        with tempfile.TemporaryDirectory() as folder:
            question, answer = pathlib.Path(folder, "question"), pathlib.Path(folder, "answer")
            question.write_bytes(pickle.dumps(cases[len(answers) :]))
            command = [sys.executable, __file__, "--answer", evaluator, str(question), str(answer)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
            given = list(unpickled(answer))
        if not given:
            raise RuntimeError(f"{evaluator} failed:\n{done.stderr[-4000:]}")
        versions = given[0]
        answers += given[1:]
        if done.returncode:
            answers.append(f"the process ended with {done.returncode}")
    return answers, versions


def unpickled(path):
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def answer_question(evaluator, question, answer):
    cases = pickle.loads(pathlib.Path(question).read_bytes())
    with open(answer, "wb") as file:
        for part in evaluators.answers(evaluator, cases):
            pickle.dump(part, file)
            file.flush()


def stated_size(case):
    """The spatial size that the ONNX specification promises: n*s for SAME, or output_shape; else None."""
    settings = case.settings
    if "output_shape" in settings:
        return tuple(settings["output_shape"])
    if str(settings.get("auto_pad", "")).startswith("SAME"):
        return tuple(n * s for n, s in zip(case.arrays["x"].shape[2:], settings["strides"], strict=True))
    return None


def is_adjoint(case, answer):
    """<grad_x, x> == <grad_y, y - bias>, and the same of the weight: y is linear in both."""
    if "grad_x" not in answer:
        return True
    y = answer["y"]
    if "bias" in case.arrays:
        channel = -1 if case.settings.get("data_format") == "channels_last" else 1
        shape = [1] * y.ndim
        shape[channel] = -1
        y = y - case.arrays["bias"].reshape(shape)
    want = np.vdot(answer["grad_y"], y)
    return all(
        abs(np.vdot(answer[f"grad_{name}"], case.arrays[name]) - want) <= 1e-9 * np.abs(y).sum() + 1e-9
        for name in ("x", "weight")
    )


def differences(one, other):
    return [
        role
        for role in one
        if one[role].shape != other[role].shape
        or not np.allclose(one[role], other[role], rtol=1e-9, atol=1e-9)
    ]


def settle(framework, cases):
    """(cases with their answers, versions): the word of the first implementation that is not refuted."""
    answers, versions = {}, {}
    for implementation in IMPLEMENTATIONS[framework]:
        answers[implementation], found = ask(implementation, cases)
        versions |= found
    settled = []
    for number, case in enumerate(cases):
        notes, trusted = [], []
        for implementation, given in answers.items():
            if isinstance(given[number], str):
                notes.append(f"{implementation} refused: {given[number]}")
            elif stated_size(case) not in (None, given[number]["y"].shape[2:]):
                size = given[number]["y"].shape[2:]
                notes.append(f"{implementation} gives {size}, the specification {stated_size(case)}")
            elif not is_adjoint(case, given[number]):
                notes.append(f"{implementation} breaks the adjoint identity")
            else:
                trusted.append(implementation)
        if not trusted:
            print(f"{case.name} {case.settings}: no answer: {'; '.join(notes)}", file=sys.stderr)
            continue
        chosen = answers[trusted[0]][number]
        for implementation in trusted[1:]:
            if roles := differences(chosen, answers[implementation][number]):
                notes.append(f"{implementation} differs from {trusted[0]} in {', '.join(roles)}")
        case.note = "; ".join(notes)
        case.arrays |= chosen
        settled.append(case)
    return settled, versions


def generate(framework):
    """The golden vectors of a framework, in memory."""
    cases, versions = settle(framework, list(requests.FROZEN[framework]()))
    if framework == "onnx":
        cases = evaluators.onnx_node_tests() + cases
    return cases, versions


def main(arguments):
    if arguments[:1] == ["--answer"]:
        answer_question(*arguments[1:])
        return
    for framework in arguments or IMPLEMENTATIONS:
        cases, versions = generate(framework)
        store.save(framework, cases, versions)
        notes = sum(bool(case.note) for case in cases)
        size = sum((store.FOLDER / f"{framework}.{suffix}").stat().st_size for suffix in ("json", "npz"))
        print(f"{framework}: {len(cases)} cases ({notes} with notes), {size / 1024:.0f} KiB, {versions}")


if __name__ == "__main__":
    main(sys.argv[1:])
