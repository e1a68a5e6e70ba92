"""Every transformer class of diffusers' image pipelines, tiny and random."""

from . import image, image_k_to_z, video

IMAGE = [*image.CLASSES, *image_k_to_z.CLASSES]
VIDEO = video.CLASSES
ALL = [*IMAGE, *VIDEO]
