"""Files and paths: written whole, sealed by a digest, known by their owner, kept in a folder."""
