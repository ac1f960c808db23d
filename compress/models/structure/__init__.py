"""The structure of a model: the units that can be cut, and how they and layers are removed."""
