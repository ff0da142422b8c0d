"""Columns in, votes out: 1 keep, 0 drop, -1 abstain. The union below is the registry.

A rule says what one signal alone would do. It may be sure in one direction only, and where it is
not sure it abstains: weighing the votes is the ensemble's job. Bands and conditions vote;
ready-made rules, with the thresholds of a paper, become one of the two first.
"""

from filters.rules import caption, ecodatum, objects, quality, safety, target, text
from filters.rules.band import Band
from filters.rules.base import ABSTAIN, DROP, KEEP, Cuts
from filters.rules.condition import Condition
from filters.rules.ready import Primitive, ReadyMade

AnyRule = (
    Band | Condition
    | objects.ObjectsFound | objects.ObjectsSure | objects.ObjectsCounted | objects.ObjectsShaped
    | objects.ClipShare
    | ecodatum.EcoDatumBlur | ecodatum.EcoDatumDark | ecodatum.EcoDatumLight
    | ecodatum.EcoDatumInformation | ecodatum.EcoDatumAspect
    | ecodatum.EcoDatumClip | ecodatum.EcoDatumFlipped | ecodatum.EcoDatumUpsideDown
    | ecodatum.EcoDatumConcrete | ecodatum.EcoDatumLanguage
    | ecodatum.EcoDatumCount | ecodatum.EcoDatumRatio
    | text.TMars | text.TextArea | text.TextOverlap | text.Watermark | text.TextOnly
    | caption.CaptionTemplate | caption.CaptionCopies | caption.CaptionSurprise
    | caption.CaptionBoilerplate | caption.CaptionLanguage
    | safety.Nsfw | safety.Faces
    | quality.PictureSize | quality.PictureEntropy | quality.PictureQuality
    | target.NegClipShare | target.NormSimShare | target.ImageBasedFilter | target.TextBasedFilter
)  # fmt: skip

__all__ = [
    "ABSTAIN", "DROP", "KEEP", "AnyRule", "Band", "Condition", "Cuts", "Primitive", "ReadyMade",
]  # fmt: skip
