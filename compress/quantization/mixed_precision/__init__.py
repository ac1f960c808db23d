"""Float fallback: nodes that INT8 disturbs most stay in float."""
