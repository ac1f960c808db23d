"""Students, and the losses by which they learn from a teacher."""
