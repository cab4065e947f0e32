"""Shared set-up: the Hypothesis profiles and the path to the oracle."""

import os
import pathlib
import sys

import hypothesis

# The oracle and the maker of the golden vectors are plain modules beside the tests.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

# A slow machine is not a defect, and in CI the same commit has to draw the same examples.
hypothesis.settings.register_profile(
    "default",
    deadline=None,
    max_examples=100,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "ci", parent=hypothesis.settings.get_profile("default"), derandomize=True
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")
