"""Domain shifts by computation: a dataset's images mirrored, turned, or put over coloured textures."""

from dataclasses import replace

from fqtbench.datasets.colour import colour
from fqtbench.datasets.dataset import Dataset
from fqtbench.datasets.options import TRANSFORMS, Options
from fqtbench.datasets.rotate import rotate
from fqtbench.errors import UsageError


def transform(data: Dataset, options: Options, seed: int) -> Dataset:
    """Return `data` as `options` want its images, mirrored first, then turned; `seed` draws the textures.

    Each image is changed by itself, so it makes no difference whether a part is taken before or after. The source says
    what was done. Raises UsageError if the images are not of the kind that this needs.
    """
    asked = options.given() & TRANSFORMS
    if not asked:
        return data
    if data.zero_point != 0:
        raise UsageError(f"dataset {data.name}: {min(asked)} does not apply to it: its samples are no images")
    train_x, test_x, source = data.train_x, data.test_x, data.source
    if options.mirror:
        train_x, test_x = train_x[:, :, ::-1], test_x[:, :, ::-1]
        source = f"{source}; from right to left"
    if options.rotate:
        train_x, test_x = (rotate(x, options.rotate) for x in (train_x, test_x))
        source = f"{source}; turned by {options.rotate:g}°"
    if options.colour:
        try:
            train_x, test_x = (colour(x, seed) for x in (train_x, test_x))
        except UsageError as error:
            raise UsageError(f"dataset {data.name}: {error}") from error
        source = f"{source}; over procedural colour textures, seed {seed}"
    return replace(data, train_x=train_x, test_x=test_x, source=source)
