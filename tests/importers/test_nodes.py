"""ONNX's own node tests of integer operators, as `python -m benchmarks.onnx_nodes` runs them."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx")

from benchmarks import onnx_nodes


def test_every_applicable_node_test_passes_and_the_others_have_a_reason() -> None:
    verdicts = [onnx_nodes.judge(case) for case in onnx_nodes.cases()]
    by_verdict = {kind: [v for v in verdicts if v.verdict == kind]
                  for kind in ("passed", "failed", "inapplicable")}  # fmt: skip
    assert by_verdict["failed"] == []
    assert len(by_verdict["passed"]) >= 33
    assert all(one.reason for one in by_verdict["inapplicable"])
    assert sum(map(len, by_verdict.values())) == len(verdicts)
