"""The cost of a pruned model: counted, predicted or measured."""
