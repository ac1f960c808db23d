"""Recipes: YAML files that name a model, its data, and the stages that compress it."""
