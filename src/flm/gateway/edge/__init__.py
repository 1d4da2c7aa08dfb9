"""HTTP/1.1 towards clients: the connection, its deadlines and its caps."""
