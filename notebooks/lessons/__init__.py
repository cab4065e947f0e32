"""What the lessons share: pictures of arrays, and exercises that grade themselves."""

from lessons.drawing import COLOURS, draw, row
from lessons.exercises import Exercise

__all__ = ["COLOURS", "Exercise", "draw", "row"]
