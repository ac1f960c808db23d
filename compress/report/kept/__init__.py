"""What a run keeps of its insides, so that a report can be drawn from report.json alone."""
