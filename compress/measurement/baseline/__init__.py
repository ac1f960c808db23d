"""The cheapest sensible rival of a model: a linear model, or BM25 where documents are found."""
