"""Lines on what is installed: the stages, and the tasks."""
