"""The optional native kernels; everything else about the package is in pyproject.toml.

Without a compiler the install goes on and the losses use torch. To build in place:
``python setup.py build_ext --inplace``.
"""

from pathlib import Path

from setuptools import Extension, setup

folder = Path("src/hone/losses/kernels/cpu")

setup(
    ext_modules=[
        Extension(
            "hone.losses.kernels._cpu",
            sources=[str(folder / name) for name in ("entry.cpp", "baseline.cpp", "avx2.cpp", "avx512.cpp")],
            depends=[str(path) for pattern in ("*.h", "*.inc") for path in sorted(folder.glob(pattern))],
            # No -ffast-math: NaN, infinity and the rounding trick in exp must survive. OpenMP is compiled for but not
            # linked: the symbols are those of the runtime that torch has loaded.
            extra_compile_args=["-std=c++17", "-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-g0"],
            language="c++",
            optional=True,
        )
    ]
)
