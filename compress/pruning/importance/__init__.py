"""What makes a unit worth keeping: one criterion a file."""
