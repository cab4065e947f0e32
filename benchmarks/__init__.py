"""How fast pyx_deconv and its peers are on this machine: ``python -m benchmarks --help``.

The package, from what is called to what is timed:

=================  =====================================================================================
``__main__``       the command line
``report``         the Markdown table; ``targets``: what was promised, met or missed; ``plots``
``analysis``       what the samples say: medians, quartiles, ratios sample by sample, the roofline
``store``          the measurements of one machine in a JSON-lines file, so that a run can be resumed
``measure``        one case: check the values, warm up, then sample the libraries in turn
``processes``      one process per library, stopped while another one is timed
``worker``         what runs in such a process
``libraries``      how each library is called at its best, one file each
``problem``        the arrays of a case, and the right result in float64
``layers``         the layers of ``layers.json``
=================  =====================================================================================

Two stand apart: ``history`` is pyx_deconv alone, timed by pytest-benchmark against its own past (``make
history``), and ``chunked`` how ``pyx_deconv.dask`` scales, and what memory it takes (``make dask``).

Every import goes down this table, never up. Times are in seconds, rates in FLOP/s and bytes/s.
"""
