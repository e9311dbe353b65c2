"""What a user asks of an import beside its requantization rule.

The rule: what changes integers is asked for by name, and is nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from apsim.errors import InputError

__all__ = ["NORM_RULES", "PLAIN", "SOFTMAX_RULES", "Options"]

SOFTMAX_RULES = ("real", "ort-fused", "ap")
NORM_RULES = ("real", "ap")
WIDEST_INPUT = 16  # bits, as of any word that weights multiply


@dataclass(frozen=True)
class Options:
    """`input_scale` is the step of a real input that a layer takes as it is, in `input_bits`
    signed bits.  `softmax` and `norm` are the rules of these operators, the file's own where
    they are empty: "real", "ort-fused" (of softmax alone), or "ap", which gives the AP's own
    integers and not the file's.  `until` names tensors of a TFLite file at which the network
    ends: what comes behind them is left to the host.
    """

    input_scale: float | None = None
    input_bits: int = 8
    softmax: str = ""
    norm: str = ""
    until: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `InputError` for what there is not."""
        for what, given, known in (
            ("--rule-softmax", self.softmax, SOFTMAX_RULES), ("--rule-norm", self.norm, NORM_RULES),
        ):  # fmt: skip
            if given not in ("", *known):
                raise InputError(f"{what}: wanted one of {', '.join(known)}, got {given!r}")
        if not 2 <= self.input_bits <= WIDEST_INPUT:
            raise InputError(f"--input-bits: wanted 2..{WIDEST_INPUT}, got {self.input_bits}")
        if self.input_bits != Options.input_bits and self.input_scale is None:
            raise InputError("--input-bits goes with --input-scale, the step of these words")

    @property
    def asked(self) -> bool:
        """Whether anything is."""
        return self != Options()

    @property
    def of_onnx(self) -> bool:
        """Whether anything is that ONNX files alone have: TFLite's have rules of their own."""
        softmax = "" if self.softmax == "ap" else self.softmax
        return replace(self, until=(), softmax=softmax) != Options()

    @property
    def of_the_file(self) -> Options:
        """The same with the file's own rules."""
        return replace(self, softmax="", norm="")

    @property
    def others(self) -> str:
        """The rules that were asked for by name, as the command line has them."""
        asked = {"--rule-softmax": self.softmax, "--rule-norm": self.norm}
        return " and ".join(f"{option} {rule}" for option, rule in asked.items() if rule)


PLAIN = Options()  # nothing asked for
