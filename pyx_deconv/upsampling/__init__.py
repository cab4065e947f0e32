"""Enlarging photographs: fixed kernels, kernels that are learned, and a small network.

==================  ====================================================================================
``_estimator``      `LearnedUpsampler`: fit, transform, score, save and load, as scikit-learn's estimators
``_storage``        its files
``_fsrcnn``         the network: what it computes, its loss and its gradient
``_training``       its fit: which pixels, in which order; ``_curvature`` has the variables that make it quick
``_linear``         one transposed convolution, and its exact optimum
``_quality``        luminance, PSNR and SSIM, as papers on super-resolution compute them
``interpolation``   nearest, bilinear and bicubic, as transposed convolutions with fixed kernels
``_pairs``          pairs to learn from
``_tiles``          images of any size, tile by tile
``_chunked``        images that are dask arrays
``_pixels``         what an image may be: shapes, dtypes, rounding, luma
``models``          fitted models that come with the package
==================  ====================================================================================
"""

from pyx_deconv.upsampling._estimator import LearnedUpsampler, NotFittedError
from pyx_deconv.upsampling._quality import Score, luminance, psnr, score, ssim
from pyx_deconv.upsampling.interpolation import downsample, interpolate

__all__ = [
    "LearnedUpsampler",
    "NotFittedError",
    "Score",
    "downsample",
    "interpolate",
    "luminance",
    "psnr",
    "score",
    "ssim",
]
