"""How sure the ensemble is: rows by p(keep), and by how many rules vote on them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from filters.ensemble.calibration import Outcomes, reliability
from pipeline.labelling.choice import cut_of
from pipeline.report.charts import SMALL, Cut, Labels, histogram, lines
from pipeline.report.text import decimal
from pipeline.schema import Reason
from pipeline.voted import Voted

BINS = 20  # of p(keep)


@dataclass(frozen=True, slots=True)
class Certainty:
    """Charts of the scored rows, and of the labelled ones if there are any."""

    p_keep: Markup
    votes: Markup
    reliability: Markup | None


def certainty(decisions: pa.Table, voted: Voted | None) -> Certainty | None:
    """Draw them; None without votes."""
    if voted is None or voted.analysis.by_votes is None:
        return None
    edges = np.linspace(0.0, 1.0, BINS + 1)
    scored = decisions.filter(pc.is_valid(decisions.column("p_keep")))
    kept = pc.equal(scored.column("reason"), str(Reason.OK))
    p_keep = {
        name: np.histogram(scored.filter(mask).column("p_keep").to_numpy(), edges)[0]
        for name, mask in (("kept", kept), ("dropped", pc.invert(kept)))
    }
    cut = cut_of(decisions)
    by_votes = voted.analysis.by_votes
    last = int(np.flatnonzero(by_votes)[-1])
    return Certainty(
        p_keep=histogram(
            edges,
            p_keep,
            cuts=[Cut(cut, "cut", f"lowest p(keep) that was let through: {decimal(cut)}")],
            labels=Labels(title="Rows by p(keep), kept and dropped", x="p(keep)", y="% of rows"),
        ),
        votes=histogram(
            np.arange(last + 2, dtype=np.float64) - 0.5,
            {"rows": by_votes[: last + 1]},
            cuts=[],
            labels=Labels(title="Rows by votes", x="rules that vote on a row", y="% of rows"),
        ),
        reliability=None if voted.outcomes is None else _reliability(voted.outcomes),
    )


def _reliability(outcomes: Outcomes) -> Markup:
    """Draw the share of labelled pairs that are to be kept over p(keep), with its interval."""
    curve = reliability(outcomes)
    ends = {"share to keep": curve.share_B, "lower end": curve.low_B, "upper end": curve.high_B}
    measured = {name: np.stack([curve.mean_B, y_B], axis=1) for name, y_B in ends.items()}
    even = {"as p(keep) says": np.array([[0.0, 0.0], [1.0, 1.0]])}
    return lines(
        {"share to keep": measured.pop("share to keep"), **even, **measured},
        labels=Labels(title="Share to keep by p(keep)", x="p(keep)", y="share to keep"),
        size=SMALL,
    )
