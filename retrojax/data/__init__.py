"""Photographs for training: sources, preparation, batches. Grain and TFDS load on first use."""

from .photos import Photo, PhotoData, Photos
from .pipeline import batches
from .sources import default_cache_dir, open_data
from .whole import resized_images, split_domains, whole_images

__all__ = [
    "Photo",
    "PhotoData",
    "Photos",
    "batches",
    "default_cache_dir",
    "open_data",
    "resized_images",
    "split_domains",
    "whole_images",
]
