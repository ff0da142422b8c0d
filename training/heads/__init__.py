"""Small heads on stored columns, fitted on a few labels."""
