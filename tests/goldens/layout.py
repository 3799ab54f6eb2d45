"""From PyTorch's layout to ours for the networks that the importer does not know: R3GAN, SinCUT."""

import re

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict


def rearranged(name, key, array):
    """A parameter of R3GAN or SinCUT from PyTorch's layout in ours: the same elements."""
    if key == "collect.weight":
        return array[:, 0].transpose(1, 2, 0)
    if key == "basis":
        return array.transpose(1, 2, 0)
    if key == "model.up.weight":
        return array.transpose(2, 3, 0, 1)
    if key == "model.dense.weight":
        # What is flattened is c, h, w there and h, w, c here.
        array = array.reshape(len(array), -1, 4, 4).transpose(2, 3, 1, 0)
        return array.reshape(-1, array.shape[-1])
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
        return array[0, 0] if name.startswith("r3gan") and len(array) == 1 else array
    return array.T if array.ndim == 2 and key != "classes_embedding" else array


def ported(name, state):
    """Variables of R3GAN or SinCUT, and the function that gives gradients PyTorch's layout.

    Args:
        name: begins with the network's family.
        state: arrays in PyTorch's layout by PyTorch's names.
    """
    paths, flat = {}, {}
    for key, array in state.items():
        path = key.removeprefix("model.").replace(".", "/")
        paths[key] = "collect" if key == "collect.weight" else re.sub("/weight$", "/kernel", path)
        flat[paths[key]] = rearranged(name, key, array)

    def back(variables):
        found, out = flatten_dict(variables["params"], sep="/"), {}
        for key, array in state.items():
            places = rearranged(name, key, np.arange(array.size).reshape(array.shape))
            out[key] = np.zeros(array.shape, np.float32)
            out[key].ravel()[places.ravel()] = np.asarray(found[paths[key]]).ravel()
        return out

    return {"params": unflatten_dict(flat, sep="/")}, back
