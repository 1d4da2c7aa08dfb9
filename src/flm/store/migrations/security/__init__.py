"""Migrations of security.db."""
