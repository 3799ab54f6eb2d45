"""Settings for every test: four virtual CPU devices, strict shapes, checked annotations."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jaxtyping

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("retrojax", "beartype.beartype")
