"""Costs of networks as tables, JSON and CSV."""
