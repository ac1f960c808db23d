"""Several precisions of one model, made and measured by the export stage."""
