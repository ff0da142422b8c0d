"""Prompted labeling functions: a question about a pair, answered by a language model, as a vote.

A template and a map from completions to votes, calibrated on inputs without content (Smith et al.,
"Language Models in the Loop", arXiv:2205.02318). Nothing here knows of tables or of Ray.
"""
