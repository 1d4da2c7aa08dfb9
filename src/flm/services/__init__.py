"""The use cases, one file each: plain synchronous classes over ports."""
