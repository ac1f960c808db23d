"""The cheapest sensible rival of a classifier: a linear model of scikit-learn."""
