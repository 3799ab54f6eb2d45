"""Benchmarks: each imports the product and prints medians with the machine named."""
