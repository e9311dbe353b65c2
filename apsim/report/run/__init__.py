"""Runs of networks as tables and JSON, and how far they are."""
