"""Average precision of a Keras run or of an exported .tflite."""

from pipeline.metrics import coco_metrics, coco_results, evaluate_split

__all__ = ["coco_metrics", "coco_results", "evaluate_split"]
