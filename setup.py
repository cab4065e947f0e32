"""The extensions: one source, compiled once for every instruction set. Metadata is in pyproject.toml.

PYX_DECONV_OPENMP=0   builds without threads (so does, with a warning, a compiler that has no OpenMP)
PYX_DECONV_CHECKED=1  builds with bounds checks on every index, for the tests
"""

import os
import platform
import sys
import tempfile
import warnings
from glob import glob

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.sysconfig import customize_compiler

CHECKED = os.environ.get("PYX_DECONV_CHECKED") == "1"
OPENMP = os.environ.get("PYX_DECONV_OPENMP") != "0"
# Nothing that was built with other switches is ever taken for up to date.
BUILD = f"build/cython-{Cython.__version__}" + "-checked" * CHECKED + "-serial" * (not OPENMP)

INSTRUCTION_SETS = {
    "portable": [],  # what the compiler targets by itself: SSE2, NEON
    "x86_64_v2": ["-march=x86-64-v2"],  # SSE4.2
    "x86_64_v3": ["-march=x86-64-v3"],  # AVX2, FMA, F16C
    "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],  # AVX-512
}
# -O3: at -O2 the register tile can lose a factor of three. -fwrapv: as CPython builds its own extensions.
# The warnings are about code that Cython generates.
FLAGS = ["-O3", "-g0", "-fwrapv", "-Wno-maybe-uninitialized", "-Wno-unused-function"]


def compiles(source, flags, link=()):
    """Whether the compiler turns the source into a program with these flags."""
    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "probe.c")
        with open(path, "w") as file:
            file.write(source)
        try:
            objects = compiler.compile([path], output_dir=folder, extra_postargs=list(flags))
            compiler.link_executable(objects, os.path.join(folder, "probe"), extra_postargs=list(link))
        except Exception as error:  # each kind of compiler raises its own
            print(f"probe {' '.join(flags)}: {error}", file=sys.stderr)
            return False
    return True


def openmp_flags():
    """What to compile and link with, or two empty lists."""
    if not OPENMP:
        return [], []
    compile_flags = ["-Xpreprocessor", "-fopenmp"] if sys.platform == "darwin" else ["-fopenmp"]
    link_flags = ["-lomp"] if sys.platform == "darwin" else ["-fopenmp"]
    if compiles(
        "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n", compile_flags, link_flags
    ):
        return compile_flags, link_flags
    warnings.warn("This compiler has no OpenMP: pyx_deconv will run on one thread.", stacklevel=2)
    return [], []


def extensions():
    """The variants that this compiler can build for this processor's architecture."""
    compile_flags, link_flags = openmp_flags()
    x86_64 = platform.machine().lower() in ("x86_64", "amd64") and sys.maxsize > 2**32
    for name, flags in INSTRUCTION_SETS.items():
        if flags and not (x86_64 and compiles("int main(void) { return 0; }\n", flags)):
            continue
        extension = Extension(
            f"pyx_deconv.kernels.{name}",
            ["pyx_deconv/kernels/engine.pyx"],
            include_dirs=["pyx_deconv/kernels"],
            depends=glob("pyx_deconv/kernels/*.h") + glob("pyx_deconv/kernels/*.pxi"),
            define_macros=[("PYX_DECONV_CHECKED", str(int(CHECKED)))],
            extra_compile_args=FLAGS + flags + compile_flags,
            extra_link_args=link_flags,
        )
        # The module's name stands in the C file, so each variant has one of its own.
        yield from cythonize(
            [extension],
            build_dir=f"{BUILD}/{name}",
            compiler_directives={"boundscheck": CHECKED, "show_performance_hints": False},
        )


if __name__ == "__main__":
    setup(
        ext_modules=list(extensions()),
        options={"build": {"build_base": BUILD}, "build_ext": {"parallel": os.cpu_count()}},
    )
