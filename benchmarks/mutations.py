"""Mutations of the source that named tests must notice: `python -m benchmarks.mutations`.

The rule: each is one mistake in one line, applied to a copy of the checkout; it is killed
where the tests that are about that line fail, and a survivor is a hole in those tests.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("apsim", "tests", "luts", "benchmarks", "pyproject.toml", "README.md", "scripts")


@dataclass(frozen=True)
class Mutation:
    """`old` becomes `new` in `file`, and one of `tests` must fail."""

    file: str
    old: str
    new: str
    tests: str

    def __str__(self) -> str:
        return f"{self.file}: {self.old!r} -> {self.new!r}"


ENERGY, TERMS = "apsim/cost/energy.py", "tests/cost/test_terms.py"
LATENCY, DIFFERENCES = "apsim/cost/latency.py", "apsim/closed_form/differences.py"
PLANS = "apsim/closed_form/weight_plan.py"
WEIGHTS, BY_WEIGHTS = "apsim/closed_form/weights.py", "tests/closed_form/test_weights.py"
ROWS, BY_DIGITS = "apsim/functions/weight_rows.py", "tests/nn/test_weights_mapping.py"
RUN, STREAM = "apsim/functions/weight_run.py", "apsim/cam/stream.py"
CONTROL = Mutation(ENERGY, "", "", TERMS)  # no mistake: the copy passes
MUTATIONS = (
    Mutation(PLANS, "3 * self.short - 1", "3 * self.short", BY_WEIGHTS),
    Mutation(PLANS, "(width - self.short) if", "width if", BY_WEIGHTS),
    Mutation(PLANS, "- 2 * self.places", "", BY_WEIGHTS),
    Mutation(PLANS, "part + (1 << k) >= parts", "part + (1 << k) > parts", BY_WEIGHTS),
    Mutation(PLANS, "* (k > 0)", "", BY_WEIGHTS),
    Mutation(WEIGHTS, "_lengths(begin)) * lower", "_lengths(gone)) * lower", BY_WEIGHTS),
    Mutation(WEIGHTS, "groups[0] = 1", "pass", BY_DIGITS),
    Mutation(WEIGHTS, "up = np.maximum(up,", "up = np.minimum(up,", BY_DIGITS),
    Mutation(ROWS, "ripple = end - bits - (k - target)",
             "ripple = end - bits - (k - target) - (k > target)", BY_DIGITS),
    Mutation(ROWS, "(found == found[-1:]).all(axis=1)", "found.any(axis=1)", BY_DIGITS),
    Mutation(ROWS, "short_at, below * size", "short_at, every * size", BY_DIGITS),
    Mutation(ROWS, "bounds[t], 0 if stops", "0, 0 if stops", BY_DIGITS),
    Mutation(ROWS, "np.where(self._offsets > 0, ADD, SUBTRACT)", "self._offsets * 0 + ADD",
             BY_DIGITS),
    Mutation(ROWS, "shared, received, sums if", "shared, received[2:], sums if", BY_DIGITS),
    Mutation(ROWS, "(start, stop if making else start)", "(start, start)", BY_DIGITS),
    Mutation(ROWS, "self._clear[: 1 + making]", "self._clear[:1]", BY_DIGITS),
    Mutation(ROWS, "some[: bool(plan.common)] = True", "pass", BY_DIGITS),
    Mutation(ROWS, "            rows[2 * n + 1] = end\n", "            n -= 1\n", BY_DIGITS),
    Mutation(ROWS, "sums if read else sums[:0]", "sums[: len(sums) * read - 1]", BY_DIGITS),
    Mutation(RUN, "1 if plan.common else max", "max", BY_DIGITS),
    Mutation(RUN, "if group == begin:", "if group == end - 1:", BY_DIGITS),
    Mutation(RUN, "(stream.since(begin), end)", "(stream.since(begin), end - 1)", BY_DIGITS),
    Mutation(STREAM, "cells += alive * n", "cells += n", BY_DIGITS),
    Mutation(STREAM, "op == SET and at_b == carry", "op == SET", BY_DIGITS),
    Mutation(STREAM, "(frame[FIRST], frame[LAST])", "(frame[FIRST] + 1, frame[LAST])", BY_DIGITS),
    Mutation(STREAM, "arange(0, pixels, rows)", "arange(rows, pixels, rows)", BY_DIGITS),
    Mutation(STREAM, "range({bits})", "range({bits} - 1)", BY_DIGITS),
    Mutation(STREAM, "range(frame[COUNT])", "range(frame[COUNT] - (vector == 1))", BY_DIGITS),
    Mutation(STREAM, "for key, writes in passes))", "for key, writes in passes[1:]))", BY_DIGITS),
    Mutation(STREAM, '"at_c" not in line:', '"at_c" not in line and "^" not in line:', BY_DIGITS),
    Mutation("apsim/functions/weights.py", "+ offset - plan.least", "+ offset", BY_DIGITS),
    Mutation(
        "apsim/nn/rules/requantize.py", "np.clip(q, -top, top - 1)", "np.clip(q, -top, top)",
        "tests/nn/test_rules.py",
    ),
    Mutation(
        "apsim/nn/on_ap/mapping.py", "else (rows - extra) // size\n",
        "else (rows - extra - 1) // size\n", "tests/nn/test_mapping.py",
    ),
    Mutation(
        "apsim/nn/on_ap/mapping.py", "(rows - extra) // size, size + extra",
        "(rows - extra - 1) // size, size + extra", "tests/nn/test_mapping.py",
    ),
    Mutation(ENERGY, "bits + 2 + (bits - 1) / 4", "bits + 1 + (bits - 1) / 4", TERMS),
    Mutation(
        ENERGY, "values * (bits + 1) * t.read_energy,\n    )", "values * t.read_energy)", TERMS
    ),
    Mutation(ENERGY, "(product + levels - 1)", "(product + levels)", TERMS),
    Mutation(ENERGY, "compressors * 3 * product", "compressors * 4 * product", TERMS),
    Mutation(ENERGY, "1 if chip.ap == \"2d\" else 2", "1", TERMS),
    Mutation(ENERGY, "layer.groups * layer.j * u * a", "layer.j * u * a", TERMS),
    Mutation(ENERGY, "min(chip.clusters, layer.u if", "max(chip.clusters, layer.u if", TERMS),
    Mutation(ENERGY, "+ 2 * outputs", "+ outputs", TERMS),
    Mutation(ENERGY, "2 * t.read_energy", "1 * t.read_energy", TERMS),
    Mutation(ENERGY, "outputs * width * t.read_energy", "outputs * product * t.read_energy", TERMS),
    Mutation(ENERGY, "(layer.window // 2)", "rows", TERMS),
    Mutation(LATENCY, "1 if layer.kind == \"conv\" else chip.clusters", "1", TERMS),
    Mutation(LATENCY, "2 * _mesh_cycles", "_mesh_cycles", TERMS),
    Mutation(DIFFERENCES, "- Counts(read=grown)", "- Counts()", "tests/nn/test_forecast.py"),
    Mutation(DIFFERENCES, "printed = passes(levels)\n", "printed = passes(pairs)\n",
             "tests/closed_form/test_realisable.py"),
    Mutation("apsim/functions/normalize.py", "(64 * (least + 1)) ** 2", "(64 * least) ** 2",
             "tests/functions/test_normalize.py"),
    Mutation("apsim/ops/reduction.py", "_tree(total, side, bits, groups, kind.segmented)",
             "_tree(total, side, bits, groups, False)", "tests/functions/test_normalize.py"),
    Mutation("apsim/nn/on_ap/plan.py", "outputs // groups, length", "outputs, length",
             "tests/nn/test_runtime.py"),
)  # fmt: skip


def killed(mutation: Mutation) -> bool:
    """Whether the tests fail on a copy with the mistake in it."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            copy(ROOT / name, Path(folder) / name)
        path = Path(folder) / mutation.file
        path.write_text(path.read_text().replace(mutation.old, mutation.new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, mutation.tests], cwd=folder, capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    return done.returncode == 1 and " failed" in done.stdout


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def unclear() -> Iterator[Mutation]:
    """Mutations whose line is not, or not only once, in the source."""
    for mutation in MUTATIONS:
        if (ROOT / mutation.file).read_text().count(mutation.old) != 1:
            yield mutation


def main() -> int:
    if killed(CONTROL):
        print("the tests fail where nothing is mutated: nothing can be said")
        return 1
    survivors = 0
    for mutation in MUTATIONS:
        dead = killed(mutation)
        survivors += not dead
        print(f"{'killed' if dead else 'SURVIVED'}  {mutation}  by {mutation.tests}", flush=True)
    print(f"{len(MUTATIONS) - survivors} of {len(MUTATIONS)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
