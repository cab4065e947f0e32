"""What the lessons share: pictures of arrays, and exercises that grade themselves."""

from lessons.drawing import COLOURS, bricks, draw, row
from lessons.exercises import Exercise

__all__ = ["COLOURS", "Exercise", "bricks", "draw", "row"]
