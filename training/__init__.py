"""Train encoders on pairs, judge them without labels, pass them on to smaller ones.

    pairs -> input -> batches -> loop.fit(Contrastive) ---------> checkpoint -> evaluation
                        |                                            | teacher
                        +------> loop.fit(FeatureDistillation) <-----+---> student -> evaluation

`loop` tells the story of a run, `step` that of one step, `objectives` what a step minimises.
`config` holds every setting: of what is computed, and of how. `input` makes batches, `models` and
`losses` are the mathematics, `optim` what becomes of a gradient, `parallel` how ranks share a step,
`runs` who starts ranks, `checkpoint` what outlives them, `log` what they tell, `evaluation` what
judges them. `shown`, `jobs` and `trials` are training as a stretch of a run; `plan` and `shapes`
say beforehand what it comes to. `alignment` and `heads` fit small models on stored columns.
"""
