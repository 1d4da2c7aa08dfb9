"""Makes the extension modules: run by `compile.py`, with the Python that has mypyc.

    python scripts/extensions.py PYTHON BUILD OUT GROUP SOURCE...

PYTHON: the interpreter whose packages the sources import; BUILD: an empty folder to work in;
OUT: where the extension modules go, each under its package's path; GROUP: the library's name.
"""

from __future__ import annotations

import os
import sys

from mypyc.build import mypycify
from setuptools import setup

OPTIMISED = "1"
"""-O1: as fast as -O3 here (it is mostly calls of Python's own C), and made in half the time."""


def main(python: str, build: str, out: str, group: str, *sources: str) -> None:
    """Compile `sources` into `out`; ends the process with 1 and says why when it cannot."""
    extensions = mypycify(
        [*sources, "--config-file=", "--cache-dir", os.devnull, "--python-executable", python],
        group_name=group, opt_level=OPTIMISED, debug_level="0", target_dir=build,
    )  # fmt: skip
    for extension in extensions:
        # What another compiler warns of is no reason to do without.
        kept = [word for word in extension.extra_compile_args if word != "-Werror"]
        extension.extra_compile_args = kept
    setup(
        name=group,
        ext_modules=extensions,
        script_args=["build_ext", "--build-lib", out, "--build-temp", os.path.join(build, "temp")],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
