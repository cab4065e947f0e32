"""The command line ``pyx-deconv``: a module for each command.

=============  ===================================================================================
``demo``       the classic examples, a photograph enlarged, its gradients checked
``upsample``   enlarge image files, folders of them, and arrays larger than memory
``fit``        fit an upsampling model to photographs
``explain``    one small transposed convolution with its numbers
``solve``      which settings take one size to another
``bench``      how fast the passes of some layers are on this machine
``info``       what to put into a bug report
=============  ===================================================================================

Each has ``add_parser`` and ``run``, which takes the parsed options and returns the exit code. What a user can
mend is a ``CommandError`` from ``_common``; what texts on the command line mean is in ``_values``.
"""

__all__: list[str] = []
