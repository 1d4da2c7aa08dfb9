"""What FLM costs, beside nginx and a native router on the same machine: `make bench`.

`docs/performance.md` says how it is measured and what was found.
"""
