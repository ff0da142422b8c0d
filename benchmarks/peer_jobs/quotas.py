"""The quadratic program of quotas by OSQP, in a process of its own.

    python quotas.py INPUT OUTPUT

Solves what `benchmarks/quotas.py` saved, as the paper states it, and prints seconds as JSON; the
identity is sparse, which the authors' own code does not do. Needs `osqp` and `qpsolvers` only.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import qpsolvers
import scipy.sparse as sp


def main() -> None:
    """Minimise 1/2 q'q - target'q over sum(q) = total and lower <= q <= upper."""
    given = np.load(sys.argv[1])
    target_K, total = given["target"], float(given["total"])
    start = time.perf_counter()
    quota_K = qpsolvers.solve_qp(
        sp.identity(len(target_K), format="csc"),
        -target_K,
        A=sp.csc_matrix(np.ones((1, len(target_K)))),
        b=np.array([total]),
        lb=given["lower"].astype(float),
        ub=given["upper"].astype(float),
        solver="osqp",
    )
    seconds = time.perf_counter() - start
    solved = quota_K is not None
    np.save(sys.argv[2], quota_K if solved else np.full(len(target_K), np.nan))
    print(json.dumps({"seconds": seconds, "osqp": version("osqp")}))


if __name__ == "__main__":
    main()
