"""From a run folder to a page that answers, and what is said at the end."""

from collections import Counter
from contextlib import suppress

from pipeline.folder import Folder
from pipeline.health import scores_of
from pipeline.labelling.answers import LABELS, RANDOM, AnswerFile
from pipeline.labelling.choice import choose
from pipeline.labelling.pictures import picture
from pipeline.labelling.server import Server, Show
from pipeline.labelling.session import Session
from pipeline.report.text import plain
from pipeline.voted import read_decisions, rule_names

CAPTION_CHARS = 2000
COLUMNS = ("shard", "uid", "offset", "size", "caption", "reason", "p_keep")


def begin(folder: str, *, count: int, seed: int, out: str, port: int) -> Server:
    """Choose pairs and take a port; `serve` answers on it.

    Raises:
        ValueError: No curated run, no pair that could be shown, a file that holds something else,
            or a port that is taken.
    """
    run = Folder(folder)
    decisions = read_decisions(run, COLUMNS).table
    choices = choose(decisions, rule_names(run), count=count, seed=seed)
    if not choices:
        raise ValueError(
            f"label: got no pair of {folder} with votes and a picture, expected at least one; "
            "`thresher report` shows why pairs are out"
        )
    file = AnswerFile.at(out or run.path(LABELS))
    session = Session.resume(choices, file)
    file.folder.check_writable()  # before anybody answers
    rows = decisions.take([choice.row for choice in choices])
    shards, captions = scores_of(run).shards, rows.column("caption").to_pylist()
    places = rows.select(["shard", "offset", "size"]).to_pylist()

    def its_picture(position: int) -> bytes:
        at = places[position]
        return picture(shards[at["shard"]], at["offset"], at["size"])

    show = Show(
        session,
        caption=lambda position: plain(captions[position] or "", limit=CAPTION_CHARS),
        picture=its_picture,
    )
    return Server(show, port=port)


def serve(server: Server) -> None:
    """Answer until Ctrl-C."""
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


def told(session: Session) -> str:
    """Sum the answers up: `57 of 200 labelled: 40 keep, 17 drop; 29 of them random`."""
    progress = session.progress()
    labels = Counter(answer.label for answer in session.answers.values())
    at_random = sum(answer.chosen == RANDOM for answer in session.answers.values())
    return (
        f"{progress.answered} of {progress.total} labelled; {session.file.url} has {labels[1]} "
        f"keep, {labels[0]} drop, {at_random} of them random"
    )


def next_step(folder: str, session: Session) -> str:
    """Return the commands that make use of the labels; "" without any."""
    if not session.answers:
        return ""
    config = Folder(folder).path("config.toml")
    return (
        f"next: thresher curate {config} --out {folder} --set ensemble.labels={session.file.url}\n"
        f"      thresher filters analyze {folder} --labels {session.file.url}\n"
    )
