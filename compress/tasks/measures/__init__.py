"""Metrics for tasks of one's own: of classes of places, of words, and of boxes.

`docs/tasks.md` has an example of each.
"""

from compress.tasks.measures.boxes import Boxes, box_average_precision
from compress.tasks.measures.words import word_error_rate
from compress.tasks.metrics import mean_iou

__all__ = ["Boxes", "box_average_precision", "mean_iou", "word_error_rate"]
