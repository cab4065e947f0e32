"""Exercises that grade themselves, on cases that nobody has seen before."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Exercise"]

CASES = 20


@dataclass
class Exercise:
    """A function that the reader writes, and what decides whether it is right.

    Parameters
    ----------
    case : callable
        Takes a random generator, returns the arguments of one case by their names.
    truth : callable
        Takes the same arguments, returns what is right: a number, an array or a tuple.
    hints : tuple of str
        One more is shown after each wrong attempt.
    """

    case: Callable[[np.random.Generator], dict[str, Any]]
    truth: Callable[..., Any]
    hints: tuple[str, ...]
    attempts: int = field(default=0, init=False)

    def grade(self, attempt: Callable[..., Any]) -> bool:
        """Run the reader's function on random cases: is it right, or where is it not?

        The cases are drawn anew at every call, so that they cannot be learned by heart.
        """
        rng = np.random.default_rng()
        for _ in range(CASES):
            arguments = self.case(rng)
            try:
                answer = attempt(**copy.deepcopy(arguments))
            except Exception as error:
                self._explain(
                    attempt, arguments, f"raised {type(error).__name__}: {error}"
                )
                return False
            if answer is None:
                print(f"Nothing to grade yet: it returns None. Hint: {self.hints[0]}")
                return False
            if not _equal(answer, self.truth(**arguments)):
                self._explain(attempt, arguments, f"returned\n{answer!r}")
                return False
        print(f"Right, in all of {CASES} hidden cases.")
        return True

    def _explain(
        self, attempt: Callable[..., Any], arguments: dict[str, Any], outcome: str
    ) -> None:
        hint = self.hints[min(self.attempts, len(self.hints) - 1)]
        self.attempts += 1
        call = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        print(f"Not yet. {attempt.__name__}({call}) {outcome}\nHint: {hint}")


def _equal(answer: Any, truth: Any) -> bool:
    """Whether all numbers and shapes agree, but for rounding."""
    if isinstance(truth, tuple):
        return (
            isinstance(answer, tuple | list)
            and len(answer) == len(truth)
            and all(map(_equal, answer, truth))
        )
    try:
        answer = np.asarray(answer, dtype=np.result_type(np.asarray(truth), float))
    except (TypeError, ValueError):
        return False
    return answer.shape == np.shape(truth) and np.allclose(answer, truth, 1e-6, 1e-9)
