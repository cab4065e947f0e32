"""Layers as in Keras 3: its names, arguments, defaults, layouts and values, on NumPy alone.

====================  ==================================================================================
``sequential``        `Sequential`: a chain of layers, all their weights as one vector
``transposed``        `Conv1DTranspose`, `Conv2DTranspose`, `Conv3DTranspose`
``plain``             `Conv1D`, `Conv2D`, `Conv3D`
``_convolutional``    what these six have in common: settings, weights, both passes
``activations``       `Activation`, and the functions with their derivatives
``initializers``      what the weights are at first
``_settings``         a layer that is made of settings: configuration, repr
``_layer``            what every layer is: weights that are read, replaced, saved and loaded
``_checks``           what a caller may pass to a layer, and what the errors say
====================  ==================================================================================

Every import goes down this table, and from there to `pyx_deconv.operators`.
"""

from pyx_deconv.layers import activations, initializers
from pyx_deconv.layers._layer import Layer
from pyx_deconv.layers.activations import Activation
from pyx_deconv.layers.plain import Conv1D, Conv2D, Conv3D
from pyx_deconv.layers.sequential import Sequential
from pyx_deconv.layers.transposed import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose

__all__ = [
    "Activation",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Layer",
    "Sequential",
    "activations",
    "initializers",
]
