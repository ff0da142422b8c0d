"""Image and text towers, and one model made of both."""
