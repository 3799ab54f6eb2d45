"""Pure-functional GANs in JAX and Flax that give photographs a retro look."""

__version__ = "0.1.0"
