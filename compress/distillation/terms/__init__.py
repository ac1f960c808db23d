"""The parts of a student's loss: what each reads of both models, and how it is computed."""
