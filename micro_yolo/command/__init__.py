"""The commands of micro_yolo, so that ``python -m pipeline.train`` starts them wherever the package is installed."""

from micro_yolo.pipeline import __path__ as __path__
