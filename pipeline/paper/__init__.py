"""The Micro-YOLO paper's tables beside ours."""
