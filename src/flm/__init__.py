"""FLM turns the LLM engines on your own machine into one safe API."""

__version__ = "0.1.0"
