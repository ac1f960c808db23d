"""Students: a teacher's layers, a narrower teacher, or an untrained model."""
