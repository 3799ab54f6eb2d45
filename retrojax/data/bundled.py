"""The photographs inside the scikit-image and scikit-learn wheels: data without a download.

Training: astronaut (NASA, public domain), rocket (SpaceX, public domain), china (CC-BY 2.0,
D. Buechele) and the two views of one motorcycle. Held out, by name: coffee and chelsea (CC0) and
flower (CC-BY 2.0). The deep field of galaxies is left out: nine tenths of it is black sky, and a
window of black sky teaches nothing about colour.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from .photo_files import PhotoFile

_TRAIN: Final = (
    ("astronaut", "skimage", "data/astronaut.png"),
    ("china", "sklearn", "datasets/images/china.jpg"),
    ("motorcycle_left", "skimage", "data/motorcycle_left.png"),
    ("motorcycle_right", "skimage", "data/motorcycle_right.png"),
    ("rocket", "skimage", "data/rocket.jpg"),
)
_VALIDATION: Final = (
    ("coffee", "skimage", "data/coffee.png"),
    ("flower", "sklearn", "datasets/images/flower.jpg"),
    ("chelsea", "skimage", "data/chelsea.png"),
)
HELD_OUT: Final = tuple(name for name, _, _ in _VALIDATION)


def bundled_photos() -> list[PhotoFile]:
    """Returns the files of the bundled photographs, training first.

    The packages are located, not imported, so neither SciPy nor a downloader is loaded.

    Raises:
        ValueError: a wheel was installed without its pictures.
    """
    photos = []
    for name, package, path in (*_TRAIN, *_VALIDATION):
        spec = find_spec(package)
        file = Path(spec.origin).parent / path if spec and spec.origin else None
        if file is None or not file.is_file():
            raise ValueError(
                f"the bundled photograph {path} is missing from the installed {package}; "
                "reinstall it, or train on your own photographs with folder:PATH"
            )
        photos.append(PhotoFile(name, file))
    return photos
