"""Named differences between a realisable count and the printed equation.

The rule: a term is written down by its own formula and its own reason, so that
`realisable == printed + sum(terms)` is a statement that can be false.  It holds for
compares, writes and reads each; `read_as_compare` moves one into another and is 0 in
total, so that every cycle of difference stands under one of the other names.

Some terms are `LABELS`: they name what is on one side only, or the rest that is left, so that
no case can refute them.  There only what was counted is a test, and reports mark them so.
"""

from __future__ import annotations

from apsim.closed_form.kinds import ceil_log2, paper_kind, require_kind, rows_of, unpaired_levels
from apsim.closed_form.micro import passes, tree
from apsim.counts import Counts
from apsim.errors import InputError

__all__ = ["LABELS", "OF_WEIGHTS", "REASONS", "terms"]

REASONS = {
    "first_add": "the first row of a group meets no carry: a half adder and a clean carry row",
    "read_as_compare": "one of the four compares is a word-sequential read (a search, II.B)",
    "carry_resolution": "carries do not cross columns: one horizontal addition resolves them",
    "second_compressor": "a level of the segmented tree adds a sum row and a carry row, the "
    "first level two words",
    "stale_clear": "a lone row would add the stale word beside it",
    "table": "a table of passes for a function of a word: the paper has no such function",
    "minimum": "the smaller of two words: the paper has maxima alone",
    "flag_propagation": "flags do not cross columns: a parallel prefix spreads them, or rows are "
    "moved and Table IV runs horizontally in place of the vertical passes",
    "flag_reset": "Eq. (14) resets flag rows one by one, a run resets them at once",
    "scratch_clear": "scratch of a used array is cleared, or a product's top bit preset",
    "division": "a window that is no power of two: the whole sum is read, or multiplied by a "
    "constant",
    "requantization": "bias, scaling, rounding and clamps on the AP; the paper counts none of them",
    "partial_sums": "a sum longer than a CAP, or split over CAPs: its parts are moved and added, "
    "which no equation covers",
    "normalization": "softmax and norms: exact division and roots, which the paper has not",
    "word_moves": "the words of a group moved beside one another, for its maximum or its sum",
    "broadcast": "a group's word in all its rows: by a declared hardware option in one write for "
    "the group, else in one for each row",
    "digits": "weights in the program: the passes on the bits of a word, for each digit; the paper "
    "has no equation for them",
    "ripple": "their carries, to the end of the accumulator",
    "merge": "short accumulators added to the others",
    "preset": "accumulators set to what negative digits may take from them, and to biases",
    "populate": "words written, once for each group of outputs",
    "read_out": "accumulators read, a bit at a time",
    "stopped": "ripples that end where an accumulator can hold no more, which take fewer passes",
    "common_sum": "binary weights: the sum of all words, made once, added to outputs or subtracted",
    "received_sums": "accumulators of other CAPs, written and added to a CAP's own",
    "smaller_lut": "below the paper: LUTs with fewer passes than the printed ones",
}

LABELS = ("scratch_clear", "requantization", "table", "minimum")
"""Terms that are labels whatever the case; a function's row may name others for its sizes."""

OF_WEIGHTS = (
    "digits", "ripple", "merge", "preset", "populate", "read_out", "stopped", "common_sum",
    "received_sums",
)  # fmt: skip
"""Labels as well: the count of weights in the program is the sum of these, and nothing else."""


def terms(
    function: str,
    ap: str,
    *,
    bits: int,
    bits_b: int | None = None,
    words: int = 2,
    i: int = 1,
    j: int = 1,
    u: int = 1,
    window: int = 2,
    windows: int = 1,
    scheme: str = "moves",
    full_sum: bool | None = None,
    partial: bool = False,
    width: int = 1,
) -> dict[str, Counts]:
    """Differences of `realisable.<function>` from the printed equation; zero ones left out.

    Arguments as those of the closed form; `REASONS` says what each name means.  `merge` adds
    `words` partial sums of `bits` bits in each of `u` groups, and reads `width` bits.
    Raises `InputError` where the function or the kind is unknown.
    """
    require_kind(ap)
    match function:
        case "add" | "subtract" | "multiply" | "relu" | "maximum" | "minimum":
            found: dict[str, Counts] = {}
        case "reduce":
            found = _sum_terms(1, rows_of(words), bits + ceil_log2(words), ap)
        case "matmul" | "dot":
            grown = bits + (bits if bits_b is None else bits_b) + ceil_log2(j)
            found = _sum_terms(i * u, j, grown, ap)
            if partial:  # a read for each sum, and none for each bit of it
                found["partial_sums"] = Counts(read=i * u) - Counts(read=grown)
        case "merge":
            found = {"partial_sums": _merge_term(u, words, bits, width, ap)}
        case "average_pool":
            found = _sum_terms(windows, rows_of(window), bits + ceil_log2(window), ap)
            found |= _division(window, full_sum)
        case "max_pool":
            found = _max_terms(bits, window, windows, ap, scheme)
        case _:
            raise InputError(f"no closed form is named {function!r}")
    return {name: term for name, term in found.items() if term != Counts()}


def _sum_terms(groups: int, rows: int, width: int, ap: str) -> dict[str, Counts]:
    if rows == 1 or ap.endswith("-tc"):
        return {}
    if ap == "1d":
        return {"stale_clear": Counts(write=unpaired_levels(rows))}
    resolution = {"carry_resolution": Counts(compare=4, write=4) * (width - 1)}
    return resolution | (_tree_terms(rows) if ap == "2d-seg" else _carry_save_terms(groups, rows))


def _merge_term(groups: int, words: int, bits: int, width: int, ap: str) -> Counts:
    """Words written and sums read; between them what Eqs. (6)-(8) print for a reduction of so
    many words, with the terms of any reduction."""
    pairs, levels = groups * (words - 1), ceil_log2(words)
    match paper_kind(ap):
        case "1d":
            printed = tree(bits, levels) + Counts(write=1, read=1) * pairs
        case "2d":
            printed = passes(pairs)
        case _:
            printed = passes(levels)
    added = _sum_terms(groups, words, bits + levels, ap).values()
    return sum(added, Counts(write=groups * words, read=width) + printed)


def _carry_save_terms(groups: int, rows: int) -> dict[str, Counts]:
    """Each group saves a cycle on its first addition; each addition reads for a compare."""
    return {
        "first_add": Counts(compare=-1) * groups,
        "read_as_compare": Counts(compare=-1, read=1) * (groups * (rows - 1)),
    }


def _tree_terms(rows: int) -> dict[str, Counts]:
    """Level 1 takes 6 for 8, others 16 for 8; one that adds a lone row takes 8 for 8."""
    levels = ceil_log2(rows)
    lone = rows > 2 and rows - 1 == 1 << (levels - 1)
    half_adder, second = Counts(compare=-1, write=-1), Counts(compare=3, write=4, read=1)
    return {
        "read_as_compare": Counts(compare=-1, read=1) * levels,
        "second_compressor": half_adder + second * (levels - 1 - lone),
    }


def _max_terms(bits: int, window: int, windows: int, ap: str, scheme: str) -> dict[str, Counts]:
    rows = rows_of(window)
    pairs, levels = windows * (rows - 1), ceil_log2(rows)
    times = pairs if ap in ("2d", "2d-tc") else levels
    propagation = _prefix(bits) * times if scheme == "prefix" else _moves(bits, times, levels)
    at_once = {"flag_reset": Counts(write=2 - 2 * windows) * levels}
    match ap:
        case "1d" | "2d-tc":
            return {}
        case "2d-seg-tc":
            return at_once
        case "2d":
            return {"flag_propagation": propagation}
        case _:
            return at_once | {"flag_propagation": propagation}


def _prefix(bits: int) -> Counts:
    """Both flag rows moved and merged, ceil(log2 M) times."""
    return Counts(compare=2, write=4, read=2) * ceil_log2(bits)


def _moves(bits: int, times: int, levels: int) -> Counts:
    """A move for every vertical maximum (4C + 4W + 2W), and Table IV on columns each level."""
    return (
        Counts(write=1, read=1) * times
        + Counts(compare=4 * bits, write=4 * bits + 2) * levels
        - Counts(compare=4, write=6) * times
    )


def _division(window: int, full_sum: bool | None) -> dict[str, Counts]:
    if full_sum is None:
        full_sum = window & (window - 1) != 0
    return {"division": Counts(read=ceil_log2(window) * full_sum)}
