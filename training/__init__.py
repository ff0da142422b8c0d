"""Train encoders on a subset, judge them without labels, pass them on to smaller ones.

    Pairs -> data -> loop(Contrastive) -> checkpoint -> evaluate (zeroshot, retrieval)
              |                               |
              +----> loop(FeatureDistillation) -> student -> evaluate

`config` holds every setting, `losses` the mathematics, `loop` the story.
"""
