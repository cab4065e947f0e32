"""Pictures for the tests of upsampling."""

import numpy as np

__all__ = ["PHOTOGRAPHS", "photograph"]


def photograph(height, width, channels=3, dtype=np.uint8, seed=0):
    """Soft shapes in colours, with edges and a little noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((height, width))
    layers = [
        0.5 + 0.3 * np.sin(rows / 9 + columns / (7 + channel)) + 0.15 * ((rows - channel) // 13 % 2)
        for channel in range(channels)
    ]
    values = np.clip(np.dstack(layers) + rng.normal(scale=0.01, size=(height, width, channels)), 0, 1)
    peak = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    return np.rint(values * peak).astype(dtype) if peak > 1 else values.astype(dtype)


# Of several sizes, dtypes and numbers of channels.
PHOTOGRAPHS = [
    photograph(64, 81),
    photograph(70, 52, seed=1)[..., 0],
    photograph(63, 60, 4, np.uint16, seed=2),
]
