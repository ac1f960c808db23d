"""A look at a recipe's data and model before hours of work: `compress check --data`."""
