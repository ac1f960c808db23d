"""Times models against one another: rounds in turn, sittings, and when they are enough."""
