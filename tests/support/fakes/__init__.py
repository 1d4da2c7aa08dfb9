"""Fake engines: real HTTP servers that speak the documented bytes of a named version."""
