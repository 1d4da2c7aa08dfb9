"""What the routes do: one file for each family of endpoints."""
