"""Text in pictures: where it is (`detector`), what it says (`reader`), which of it is text at all.

`finder` brings the two together for the extractors `text_in_image`, `masked` and `clip_views`;
`masking` paints text over, `words` compares what was read with the caption.
"""
