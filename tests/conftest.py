"""Puts this folder on the path, so that tests can `from support.… import …`."""
