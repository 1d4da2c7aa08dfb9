"""Migrations of telemetry.db."""
