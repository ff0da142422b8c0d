"""How good is an encoder: zero-shot classification and retrieval on held-out pairs."""
