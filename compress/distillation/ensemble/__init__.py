"""Several teachers whose answers are averaged, the linear rival among them."""
