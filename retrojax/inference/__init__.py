"""A trained model in use: bundles, decoding and encoding photographs, pictures of any size."""
