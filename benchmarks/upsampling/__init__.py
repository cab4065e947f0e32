"""How well pyx_deconv's learned upsamplers enlarge photographs: ``python -m benchmarks.upsampling --help``.

The package, from what is called to what is measured:

===============  =======================================================================================
``__main__``     the command line
``report``       the Markdown tables; what was promised, met or missed
``pictures``     learning curves, crops side by side, learned kernels
``optimisers``   the same fit by other ways of ``scipy.optimize``
``experiment``   one fit: its time, its learning curve, its scores on photographs held out
``photographs``  the photographs, and the rule by which they are split
===============  =======================================================================================

Every import goes down this table, never up. Times are in seconds, PSNR is in dB.
"""

import sys
from pathlib import Path

# The installed pyx_deconv goes before the sources, which are not compiled: their folder last.
_ROOT = str(Path(__file__).resolve().parents[2])
sys.path[:] = [*(each for each in sys.path if each not in ("", _ROOT)), _ROOT]
