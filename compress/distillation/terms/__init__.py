"""The terms of a student's loss: what each reads from both models, and how it is computed."""
