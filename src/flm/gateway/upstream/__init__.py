"""Connections to engines: the pool, the connection, the answer as it arrives."""
