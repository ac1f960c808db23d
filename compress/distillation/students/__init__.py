"""Students: made of a teacher's layers, cut narrower, or drawn anew."""
