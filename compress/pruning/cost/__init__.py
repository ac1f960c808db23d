"""What a cut model costs: counted or measured."""
