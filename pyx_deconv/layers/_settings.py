"""Layers that are made of settings: what Keras calls their configuration."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self

import numpy as np

from pyx_deconv.layers import _checks
from pyx_deconv.layers._layer import Layer

__all__ = ["ConfiguredLayer"]


@dataclass(eq=False, repr=False)
class ConfiguredLayer(Layer):
    """A layer whose fields are its settings: one list for the signature, the configuration and the repr.

    The settings are checked and brought to one form after `__init__`, and cannot be changed afterwards: the
    weights, and what was prepared from them, belong to these settings.
    """

    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.name = _checks.snake_case(type(self).__name__) if self.name is None else self.name
        _checks.text(self.name, "name")
        self._settled = True

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dataclass_fields__ and "_settled" in self.__dict__:
            raise AttributeError(f"{name} is a setting, and cannot be changed: make a new layer")
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_seen": None}

    def get_config(self) -> dict[str, Any]:
        """Return the settings under Keras' names, as `from_config` takes them.

        All of them can be written as JSON, except functions of the caller's.
        """
        config = {each.name: getattr(self, each.name) for each in fields(self)}
        return {key: each.name if isinstance(each, np.dtype) else each for key, each in config.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make a layer from its settings; those that ``get_config`` of a Keras layer returns will do."""
        if not isinstance(config, Mapping):
            raise TypeError(f"config must be a dictionary, not {type(config).__name__}")
        # Of training, like the regularizers; but in Keras' configuration of every layer.
        return cls(**{name: value for name, value in config.items() if name != "trainable"})

    def __repr__(self) -> str:
        needed = {each.name: getattr(self, each.name) for each in fields(self) if each.default is MISSING}
        usual = type(self)(**needed).get_config()
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_config().items()
            if name in needed or value != usual.get(name)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
