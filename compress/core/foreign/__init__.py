"""Code that isn't ours: found, called in one place, its errors named."""
