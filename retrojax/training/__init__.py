"""Training: the state, the one joint step, its placement on devices, checkpoints and the loop."""
