"""Clients and how they are pointed at FLM: one file for each."""
