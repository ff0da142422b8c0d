"""One sitting: what is to be answered, what has been, and the way back."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.labelling.answers import UNCERTAIN, Answer, AnswerFile, now
from pipeline.labelling.choice import Choice
from pipeline.labels import RANDOM

LABELS = {"keep": 1, "drop": 0}
SKIP = "skip"
Undo = tuple[bytes, Answer | None]  # uid, and the answer that it had before


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the sitting is.

    Attributes:
        position: Of the first choice that is open; None once none is.
        answered: Choices with an answer.
        skipped: Choices that were skipped in this sitting.
        total: Choices.
        can_undo: There is something to take back.
    """

    position: int | None
    answered: int
    skipped: int
    total: int
    can_undo: bool


@dataclass(slots=True)
class Session:
    """Answers go to the file at once; safe for several threads.

    Attributes:
        choices: In the order in which they are shown.
        file: Where answers go; those of other pairs stay in it.
        answers: By uid, the latest last.
    """

    choices: Sequence[Choice]
    file: AnswerFile
    answers: dict[bytes, Answer]
    _skipped: set[bytes] = field(default_factory=set)
    _done: list[Undo] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def resume(cls, choices: Sequence[Choice], file: AnswerFile) -> "Session":
        """Go on where the file ends; what was answered before can be taken back too.

        Raises:
            ValueError: The file is something else.
        """
        answers = file.read()
        ours = {choice.uid for choice in choices}
        done: list[Undo] = [(uid, None) for uid in answers if uid in ours]
        return cls(choices, file, answers, _done=done)

    def progress(self) -> Progress:
        """Return how far it is."""
        with self._lock:
            return self._progress()

    def answer(self, position: int, what: str) -> Progress:
        """Answer or skip a choice; the last answer holds.

        Args:
            position: Of the choice.
            what: A name of `LABELS`, or `SKIP`.

        Raises:
            OSError: The answer could not be written; it does not count.
            ValueError: The file has become something else; nor does it then.
        """
        with self._lock:
            choice = self.choices[position]
            before = self.answers.get(choice.uid)
            if what == SKIP:
                self._skipped.add(choice.uid)
            else:
                self._put(choice.uid, Answer(LABELS[what], choice.chosen, now()))
                self._skipped.discard(choice.uid)
            self._done.append((choice.uid, before))
            return self._progress()

    def undo(self) -> Progress:
        """Take back what was done last, if anything was.

        Raises:
            OSError: The file could not be written; nothing changes.
        """
        with self._lock:
            if self._done:
                uid, before = self._done[-1]
                if self.answers.get(uid) != before and uid not in self._skipped:
                    self._put(uid, before)
                self._skipped.discard(uid)
                self._done.pop()
            return self._progress()

    def _put(self, uid: bytes, answer: Answer | None) -> None:
        """Set or clear an answer, on the disk first; those of another sitting stay in it."""
        answers = dict(self.answers)
        for known, given in self.file.read().items():
            if known not in answers or given.at > answers[known].at:
                answers[known] = given
        answers.pop(uid, None)
        if answer is not None:
            answers[uid] = answer
        self.file.write(answers)
        self.answers = answers

    def _progress(self) -> Progress:
        answered = sum(choice.uid in self.answers for choice in self.choices)
        return Progress(
            position=self._first_open(),
            answered=answered,
            skipped=len(self._skipped),
            total=len(self.choices),
            can_undo=bool(self._done),
        )

    def _first_open(self) -> int | None:
        """Return the position of the next choice to answer.

        A pair that an earlier sitting showed for being uncertain may be one of the random ones of a
        larger count. It counts as one once all before it are done: earlier, pairs that were
        uncertain would be too many among the random ones.
        """
        for position, choice in enumerate(self.choices):
            answer = self.answers.get(choice.uid)
            if answer is None and choice.uid not in self._skipped:
                return position
            if answer is not None and (choice.chosen, answer.chosen) == (RANDOM, UNCERTAIN):
                self.answers[choice.uid] = replace(answer, chosen=RANDOM)
        return None
