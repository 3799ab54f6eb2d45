"""Runnable experiments: thin programs over the retrojax package."""
