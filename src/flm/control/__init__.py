"""The controller: owns the store, the engines and the gateway; one per data directory.

Its event loop never computes for long: the store is read and written in one thread of its own
(`worker`), everything else is messages.
"""
