"""Image files: read, enlarged tile by tile, and written with what else was in them.

=============  =============================================================================================
``_files``     ``reading`` and ``write``: which reader, which writer, and what a format can hold
``_enlarged``  pixels that are enlarged while they are written; what alpha and inks mean
``_tiff``      TIFF, in pieces: 16 bits, floats, pages, files larger than memory
``_zarr``      arrays in Zarr, in pieces
``_pillow``    everything else that Pillow reads and writes, whole; animations
``_png16``     PNG with 16 bits for each of several channels, of which Pillow keeps 8
``_exif``      what a camera wrote down
``_picture``   ``Picture``, which goes from a reader to a writer, and ``ImageError``
=============  =============================================================================================

Pillow, tifffile, imagecodecs and zarr are imported where they are used: the extra ``images`` has them.
"""

from pyx_deconv._images._enlarged import Enlarged, Upsampler
from pyx_deconv._images._files import check, reading, settings, write
from pyx_deconv._images._picture import ImageError, NoImage, Picture

__all__ = [
    "Enlarged",
    "ImageError",
    "NoImage",
    "Picture",
    "Upsampler",
    "check",
    "reading",
    "settings",
    "write",
]
