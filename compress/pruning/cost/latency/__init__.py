"""The latency of a cut model, predicted from a table of measured operators."""
