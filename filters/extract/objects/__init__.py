"""Objects in pictures: what the extractors `objects` and `grounding` share.

`boxes` turns what a detector found into columns, `phrases` finds what a caption names, `naming`
matches phrases with a detector's classes, `zero_shot` and `prompts` drive those of transformers.
"""
