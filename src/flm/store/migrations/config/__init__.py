"""Migrations of config.db."""
