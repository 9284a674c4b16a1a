"""Where training pairs come from: a batch is a function of the seed and the step, so that a run can go on anywhere."""

from fastdeblur.train.data.batch import Batch, Source
from fastdeblur.train.data.folders import Images, image_files
from fastdeblur.train.data.synthetic import Synthetic

__all__ = ["Batch", "Images", "Source", "Synthetic", "image_files"]
