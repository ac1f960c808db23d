"""Float fallback: the nodes that lose most accuracy in INT8 stay in float."""
