"""What curating 12.8 million to 12.8 billion pairs comes to; prints the table of SCALE.md.

Every constant is measured (SCALE.md says by which command) or a named assumption.
"""

SHARD_PAIRS, PAIR_BYTES = 10_000, 100_000  # assumptions
PUT_USD, GET_USD = 0.005 / 1000, 0.0004 / 1000  # assumption: S3 standard, us-east, November 2026
BLOCK = 8 * 2**20  # pipeline/fetch.py and pipeline/folder.py
LISTED, SEGMENT = 1_000, 64  # names a LIST, lines of a journal in a store
TABLE_BYTES = 3_470  # of a score table, a pair, embeddings not compressed
LINE_BYTES, RECORD_BYTES = 546, 43  # of a record, in a journal and merged
COORDINATOR_MIB, COORDINATOR_KIB = 169, 0.51  # base, and a shard
DRIVER_MIB, DRIVER_KIB = 285, 1.17
LEASES_S = 3_080
JOURNAL_US, RECORDS_US, MERGED_US = 50, 14, 5  # to open a record, to go through it; merged
CELL_PAIRS_S = 13.8  # one core, all extractors of configs/demo.toml


def figures(pairs: float) -> dict[str, str]:
    """Return what so many pairs come to."""
    shards, mib = pairs / SHARD_PAIRS, 2**20
    blocks = -(-SHARD_PAIRS * PAIR_BYTES // BLOCK)
    gets = shards * (blocks + 2)  # 2 HEADs: is it the same object before and after?
    parts = -(-SHARD_PAIRS * TABLE_BYTES // BLOCK)
    puts = shards * (2 + parts + 1 + 1 / SEGMENT)  # begun, ended; a segment a line, and sealed
    lists = shards / LISTED
    return {
        "shards": f"{shards:,.0f}",
        "read": f"{pairs * PAIR_BYTES / 1e12:,.1f} TB",
        "score tables": f"{pairs * TABLE_BYTES / 1e12:,.2f} TB",
        "cell-hours, CPU": f"{pairs / CELL_PAIRS_S / 3600:,.0f}",
        "leases/s that 1,000 such cells need": f"{1_000 * CELL_PAIRS_S / SHARD_PAIRS:.2f}",
        "all leases at the measured rate": f"{shards / LEASES_S:,.1f} s",
        "journals": f"{shards * LINE_BYTES / mib:,.1f} MiB",
        "merged ledger": f"{shards * RECORD_BYTES / mib:,.2f} MiB",
        "coordinator": f"{COORDINATOR_MIB + shards * COORDINATOR_KIB / 1024:,.0f} MiB",
        "driver, merging": f"{DRIVER_MIB + shards * DRIVER_KIB / 1024:,.0f} MiB",
        "coordinator back, all done": f"{shards * (JOURNAL_US + RECORDS_US) / 1e6:,.1f} s",
        "finished ledger opened": f"{shards * MERGED_US / 1e6:,.2f} s",
        "LIST of the pool": f"{lists:,.0f}",
        "GET and HEAD": f"{gets:,.0f}",
        "PUT": f"{puts:,.0f}",
        "calls cost": f"{gets * GET_USD + (puts + lists) * PUT_USD:,.2f} USD",
    }


if __name__ == "__main__":
    sizes = {f"{n:g} {unit}": n * f for n, unit, f in (
        (12.8, "M", 1e6), (128, "M", 1e6), (1.28, "G", 1e9), (12.8, "G", 1e9))}  # fmt: skip
    columns = [figures(pairs) for pairs in sizes.values()]
    lines = [["pairs", *sizes], ["---"] * (1 + len(sizes))]
    lines += [[what, *(column[what] for column in columns)] for what in columns[0]]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))  # noqa: T201
