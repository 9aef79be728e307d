"""Readers of labelled images: COCO, Pascal VOC, YOLO and CSV folders, recognised by what is there."""

from micro_yolo.pipeline.data.dataset import Dataset, Problem, Split
from micro_yolo.pipeline.data.loader import load

__all__ = ["Dataset", "Problem", "Split", "load"]
