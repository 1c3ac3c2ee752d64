"""Times torchkeras against loops written by hand and against Keras."""

import argparse
import json
import sys
from collections.abc import Collection
from pathlib import Path

from benchmarks.harness import pin, run
from benchmarks.report import as_json, complaints, notes, table
from benchmarks.rows import CONTENDERS, ROWS, SOAK


def arguments() -> argparse.Namespace:
    """Read the command line."""
    names = ", ".join(row.name for row in ROWS)
    rivals = ", ".join(name for name in CONTENDERS if name != "torchkeras")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="ROW,...", help=f"some of: {names}")
    parser.add_argument("--against", metavar="NAME,...", help=f"some of: {rivals}")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count")
    parser.add_argument("--threads", type=int, default=1, help="of each contender")
    parser.add_argument("--quick", action="store_true", help="only see if it runs")
    parser.add_argument("--cpu-time", action="store_true", help="on a busy machine")
    parser.add_argument("--soak", action="store_true", help="10,000 steps; memory")
    parser.add_argument("--check", action="store_true", help="fail on a complaint")
    parser.add_argument("--markdown", action="store_true", help="a table for a README")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures")
    options = parser.parse_args()
    known = {row.name: row for row in ROWS}
    chosen = select(parser, options.only, known)
    options.rows = [known[name] for name in chosen] + [SOAK] * options.soak
    rivals = select(parser, options.against, CONTENDERS)
    options.rows = [row.narrowed(("torchkeras", *rivals)) for row in options.rows]
    if options.quick:
        options.rows = [row.quick() for row in options.rows]
    return options


def select(
    parser: argparse.ArgumentParser, names: str | None, known: Collection[str]
) -> list[str]:
    """Return the names of a comma-separated list, or all where there is none."""
    chosen = names.split(",") if names else list(known)
    if unknown := sorted(set(chosen) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen


def main() -> int:
    """Measure what the command line asks for, and print it."""
    options = arguments()
    pin(options.threads)
    results = []
    for row in options.rows:
        print(f"{row.name} ...", file=sys.stderr, flush=True)
        results.append(run(row, options.rounds, options.cpu_time))
        # Not lost if a later row is broken off.
        print(table(results[-1:], markdown=False), file=sys.stderr, flush=True)
    print(table(results, options.markdown), "", *notes(results), sep="\n", flush=True)
    print("", *complaints(results), sep="\n", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=1) + "\n")
    failed = any(result.errors for result in results)
    return int(failed or (options.check and bool(complaints(results))))


if __name__ == "__main__":
    sys.exit(main())
