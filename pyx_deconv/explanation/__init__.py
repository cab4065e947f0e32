"""One transposed convolution that a person can look at: what `pyx_deconv.explain` returns.

====================  ==================================================================================
``_explanation``      ``explain`` and ``Explanation``: what may be shown, how it is shown and saved
``_page``             the interactive page
``_animation``        the input pixels painting one after the other; this and what follows needs matplotlib
``_figures``          the picture with all views
``_layout``           where the parts of a picture go, and how a grid of numbers is drawn
``_trace``            the numbers, by four ways
``_text``             how numbers and sizes are written
====================  ==================================================================================

The folder is not called ``explain``, because a module of this name would take the place of the function
``pyx_deconv.explain`` when it is imported. matplotlib is imported when a picture is made, never before.
"""

from pyx_deconv.explanation._explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
