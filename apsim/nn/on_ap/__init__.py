"""Layers on a chip of associative processors: mapping, loads, execution, forecasts."""
