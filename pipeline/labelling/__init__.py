"""Labels by hand: which pairs are worth a look, a page to answer on, and the file of answers."""
