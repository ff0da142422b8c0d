"""One side of `benchmarks/label_models.py` in a process of its own.

    python label_models.py SIDE INPUT OUTPUT MODEL PRIOR

Loads the votes, takes the time and the memory of one call, and prints them as one line of JSON.
Must run wherever NumPy does: FlyingSquid's interpreter has nothing of ours. Linux, for the memory.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np

Call = tuple[Callable[[], np.ndarray], Callable[[], float]]  # posteriors [N, K]; the loss


def main() -> None:
    """Run one side; its posteriors go to OUTPUT."""
    side, votes_at, result_at, model, prior = sys.argv[1:]
    if side == "pool":
        print(json.dumps(pool(Path(votes_at), Path(result_at), model, float(prior))))
        return
    call, loss = SIDES[side](np.load(votes_at), model, float(prior))
    forget_peak()
    before, cpu, start = peak_mb(), time.process_time(), time.perf_counter()
    posterior_NK = call()
    told = {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "megabytes": peak_mb() - before,
        "loss": loss(),
    }
    np.save(result_at, posterior_NK)
    print(json.dumps(told))


def forget_peak() -> None:
    """Let the peak start again from what is held now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float:
    """Return the most memory that this process held, MB; getrusage would add the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def none() -> float:
    """Return the loss of what has none."""
    return float("nan")


def thresher(votes_NM: np.ndarray, model: str, prior: float) -> Call:
    """Fit and predict."""
    from filters.ensemble import fit_label_model

    method, fitted = method_of(model), []

    def call() -> np.ndarray:
        fitted.append(fit_label_model(votes_NM, model=method, prior=prior, share_copies=False))
        return fitted[0].predict_proba(votes_NM)

    return call, lambda: fitted[0].told.get("loss", none())


def thresher_predict(votes_NM: np.ndarray, model: str, prior: float) -> Call:
    """Predict with a fitted model."""
    from filters.ensemble import fit_label_model

    fitted = fit_label_model(votes_NM, model=method_of(model), prior=prior, share_copies=False)
    return lambda: fitted.predict_proba(votes_NM), none


def method_of(model: str) -> Any:
    """Return our method from JSON, such as {"kind": "triplet"}."""
    from pydantic import Field, TypeAdapter

    from filters.ensemble import AnyMethod

    return TypeAdapter(Annotated[AnyMethod, Field(discriminator="kind")]).validate_json(model)


def snorkel(votes_NM: np.ndarray, _: str, prior: float) -> Call:
    """Fit and predict as Snorkel does by default; its loss at the rates it ends with."""
    from snorkel.labeling.model import LabelModel

    model = LabelModel(cardinality=2, verbose=False)

    def call() -> np.ndarray:
        model.fit(votes_NM, class_balance=[1 - prior, prior], seed=0, progress_bar=False)
        return model.predict_proba(votes_NM)

    return call, lambda: float(model._loss_mu(l2=0))


def snorkel_majority(votes_NM: np.ndarray, _: str, __: float) -> Call:
    """Majority vote as Snorkel has it."""
    from snorkel.labeling.model import MajorityLabelVoter

    return lambda: MajorityLabelVoter(cardinality=2).predict_proba(votes_NM), none


def flyingsquid(votes_NM: np.ndarray, _: str, prior: float) -> Call:
    """Predict with a fitted model; votes as it wants them: -1 drop, 0 abstain, 1 keep."""
    if not hasattr(np, "product"):
        setattr(np, "product", np.prod)  # noqa: B010 - gone from NumPy 2
    from flyingsquid.label_model import LabelModel

    signed_NM = np.array([0, -1, 1])[votes_NM.astype(int) + 1]
    model = LabelModel(signed_NM.shape[1])
    model.fit(signed_NM, class_balance=np.array([1 - prior, prior]))
    return lambda: model.predict_proba(signed_NM), none


def pool(folder: Path, out: Path, model: str, prior: float) -> dict[str, float]:
    """Fit on every file of a folder, then predict and write p(keep), a file at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from filters.ensemble import PatternCounts, Tally, fit_label_model

    def votes_of(path: Path) -> np.ndarray:
        table = pq.read_table(path)
        votes_MN = np.empty((table.num_columns, table.num_rows), np.int8)
        for m, column in enumerate(table.columns):
            votes_MN[m] = column.to_numpy()
        return votes_MN.T

    method = method_of(model)
    files = sorted(folder.glob("*.parquet"))
    out.mkdir(exist_ok=True)
    cpu, start = time.process_time(), time.perf_counter()
    tally = Tally()
    for path in files:
        tally.add(votes_of(path))
    total = tally.total()
    counted = time.perf_counter()
    label_model = fit_label_model(total, model=method, prior=prior)
    fitted = time.perf_counter()
    for path in files:
        p_keep = label_model.predict(votes_of(path))
        pq.write_table(pa.table({"p_keep": p_keep}), out / path.name, use_dictionary=False)
    end = time.perf_counter()
    return {
        "seconds": end - start,
        "cpu": time.process_time() - cpu,
        "count": counted - start,
        "fit": fitted - counted,
        "predict": end - fitted,
        "peak": peak_mb(),
        "rows": total.rows,
        "patterns": len(total.count_P) if isinstance(total, PatternCounts) else -1,
    }


SIDES: dict[str, Callable[[np.ndarray, str, float], Call]] = {
    "thresher": thresher,
    "thresher_predict": thresher_predict,
    "snorkel": snorkel,
    "snorkel_majority": snorkel_majority,
    "flyingsquid": flyingsquid,
}


if __name__ == "__main__":
    main()
