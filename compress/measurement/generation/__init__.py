"""How fast a model generates text: reading a prompt, and decoding an answer with the cache."""
