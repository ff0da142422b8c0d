"""The page: read a run folder, summarise it section by section, fill the template."""

from dataclasses import dataclass
from functools import cache

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.folder import Folder
from pipeline.report import text
from pipeline.report.agreement import agreement
from pipeline.report.caught import caught_by_rule
from pipeline.report.certainty import certainty
from pipeline.report.charts import bar
from pipeline.report.concepts import Concepts, concepts_of
from pipeline.report.curves import curves_of, in_order, watched_of
from pipeline.report.disagreements import pick_disagreements
from pipeline.report.evaluation import evaluation_of
from pipeline.report.files import RunFiles, read_files
from pipeline.report.funnel import funnel
from pipeline.report.galleries import Card, CardMaker, Gallery, twin_rows
from pipeline.report.histograms import distributions
from pipeline.report.picks import Chooser, Pick, pick_kept, pick_reasons, pick_rules
from pipeline.report.rules import ensemble_facts, rule_rows
from pipeline.report.thumbnails import load_thumbnails
from pipeline.report.timeline import timeline_of
from pipeline.scores import Scores
from pipeline.voted import Voted, analyse_votes

STUDENT = "student"  # the distilled run; its loss is another one, so it has a chart of its own


def write_report(run: Folder, scores: Scores) -> str:
    """Write `report/index.html` into a run folder and return its URL.

    Raises:
        ValueError: Nothing was decided in this run yet, or its files do not fit together.
    """
    folder = run / "report"
    folder.write("index.html", render(run, scores).encode())
    return folder.path("index.html")


def render(run: Folder, scores: Scores) -> str:
    """Return the report as one HTML file that loads nothing; equal runs give equal bytes.

    Args:
        run: A run folder that was curated; sections on later stages appear when those are done.
        scores: Score tables of its pool.

    Raises:
        ValueError: Nothing was decided in this run yet, or its files do not fit together.
    """
    files = read_files(run)
    decisions, summary = files.decisions, files.summary
    voted = _voted(files)
    student = {name: lines for name, lines in files.journals.items() if name == STUDENT}
    training = {name: lines for name, lines in files.journals.items() if name != STUDENT}
    return _template().render(
        seconds=summary.get("seconds", {}),
        num_bytes=summary.get("bytes", {}),
        digest=summary.get("subset_sha256", ""),
        planted=summary.get("planted", {}),
        planted_checks=summary.get("planted_checks", {}),
        caught=caught_by_rule(summary.get("planted_rules", {})),
        missing_values=summary.get("missing", []),
        funnel=funnel(decisions, claimed=files.reasons, is_whole=files.sample.is_whole),
        sample=files.sample.told,
        rules=rule_rows(files.rules, voted),
        ensemble=ensemble_facts(voted),
        agreement=agreement(voted),
        certainty=certainty(decisions, voted),
        distributions=distributions(scores, decisions, files.rules),
        pictures=_pictures(files, scores),
        curves=curves_of(training, title="Training loss over samples seen"),
        student=curves_of(student, title="Distillation loss over samples seen"),
        watched=watched_of(files.journals),
        watched_runs=[text.plain(name) for name in in_order(files.journals)],
        timeline=timeline_of(files.done, scores),
        evaluation=evaluation_of(summary.get("zero_shot", {})),
        config=files.config,
    )


def _voted(files: RunFiles) -> Voted | None:
    """Analyse the votes; None where no row has any."""
    if not files.rules or not pc.any(pc.is_valid(files.decisions.column("p_keep"))).as_py():
        return None
    names = [rule["name"] for rule in files.rules]
    return analyse_votes(files.sample, names, files.model, files.labels)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Everything on the page that shows pictures."""

    kept: tuple[Gallery, ...]
    reasons: tuple[Gallery, ...]
    rules: tuple[Gallery, ...]
    disagreements: tuple[Gallery, ...]
    concepts: Concepts | None
    by_row: dict[int, Card]  # members of the concepts


def _pictures(files: RunFiles, scores: Scores) -> Pictures:
    """Choose all rows first, so that every picture is read once and many are read at a time."""
    decisions = files.decisions
    choose = Chooser.of(decisions)
    kept = pick_kept(decisions, choose)
    reasons = pick_reasons(decisions, choose)
    rules = pick_rules(decisions, files.rules, choose)
    disagreements = pick_disagreements(decisions, files.rules, choose)
    concepts = None
    if files.concepts is not None:
        concepts = concepts_of(decisions, files.concepts, choose, share=files.share)
    members = () if concepts is None else concepts.rows
    picks = (*kept, *reasons, *rules, *disagreements)
    rows = {*members, *(row for pick in picks for row in pick.rows)}
    maker = _card_maker(decisions, scores, rows)

    def galleries(picks: tuple[Pick, ...]) -> tuple[Gallery, ...]:
        return tuple(maker.gallery(pick) for pick in picks)

    by_row = {row: maker.pair(row) for row in members}
    return Pictures(
        kept=galleries(kept),
        reasons=galleries(reasons),
        rules=galleries(rules),
        disagreements=galleries(disagreements),
        concepts=concepts,
        by_row=by_row,
    )


def _card_maker(decisions: pa.Table, scores: Scores, rows: set[int]) -> CardMaker:
    twins = twin_rows(decisions, sorted(rows))
    thumbnails = load_thumbnails(decisions, scores.shards, {*rows, *twins.values()})
    return CardMaker(decisions, scores, thumbnails, twins)


@cache
def _template() -> jinja2.Template:
    """Return the page's template; every value is escaped, an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (
        text.count,
        text.decimal,
        text.duration,
        text.figure,
        text.percent,
        text.signed,
        text.size,
    )
    environment.filters.update({function.__name__: function for function in shown})
    return environment.get_template("page.html.j2", globals={"bar": bar})
