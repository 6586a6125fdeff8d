"""The fine-tuned sample encoder against TF-IDF with logistic regression, on the exam's own test split.

`python -m bench.encoder_quality [EXAM]` reads the base that `make exam` trained (out/exam unless EXAM
says otherwise) and fits the peer on the same training texts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench._pairs import Row, machine


def of_exam(folder: Path) -> tuple[Any, Any]:
    """(the base's opened artefact, the exam's splits)."""
    from tiku.artefact import open_artefact
    from tiku.examination.inputs import load_inputs
    from tiku.examination.ledger import Ledger

    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    trial = Ledger(folder / "trials").folder(result["base"])
    return open_artefact(trial.build), load_inputs(trial.spec().inputs).splits[0]


def _tfidf(splits: Any) -> Sequence[int]:
    """Predictions on test; words and pairs of words, C chosen on validation, as its documentation shows."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def fitted(c: float) -> Any:
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            LogisticRegression(C=c, max_iter=2000),
        )
        return model.fit(splits.train.inputs(), splits.train.targets())

    models = [fitted(c) for c in (0.3, 1.0, 3.0, 10.0)]
    scores = [m.score(splits.validation.inputs(), splits.validation.targets()) for m in models]
    predicted: Sequence[int] = models[int(np.argmax(scores))].predict(splits.test.inputs())
    return predicted


def rows(exam: Path) -> list[Row]:
    """Accuracy on test of both, and the paired difference."""
    import numpy as np

    from tiku.measure.stats import paired_proportion_difference, wilson

    base, splits = of_exam(exam)
    truth = np.asarray(splits.test.targets())
    order = [base.labels.index(name) for name in splits.test.classes()]
    ours = base.predict(splits.test.inputs())[:, order].argmax(axis=1) == truth
    peer = np.asarray(_tfidf(splits)) == truth
    away = paired_proportion_difference(peer, ours)
    own = wilson(int(ours.sum()), ours.size)
    return [
        Row(
            case=f"accuracy on {ours.size:,} test reviews, trained on {len(splits.train):,}",
            ours=float(ours.mean()),
            peer=float(peer.mean()),
            peer_name="scikit-learn",
            peer_version=version("scikit-learn"),
            unit="accuracy",
            ratio=float(ours.mean() / peer.mean()),
            low=float(1 + (away.low or 0.0) / peer.mean()),
            high=float(1 + (away.high or 0.0) / peer.mean()),
            same_work=(
                f"same split; ours {own.value:.4f} [{own.low:.4f}, {own.high:.4f}]; difference"
                f" {100 * away.value:+.1f} pt [{100 * (away.low or 0):+.1f}, {100 * (away.high or 0):+.1f}]"
            ),
            pairs=ours.size,
        )
    ]


def main() -> None:
    """Print a line, or the JSON object of the benches."""
    parser = argparse.ArgumentParser(prog="python -m bench.encoder_quality")
    parser.add_argument("exam", nargs="?", type=Path, default=Path("out/exam"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not (arguments.exam / "result.json").exists():
        parser.error(f"{arguments.exam} holds no result.json: run `make exam` first")
    found = rows(arguments.exam)
    if arguments.json:
        values = [asdict(row) for row in found]
        print(json.dumps({"bench": "encoder_quality", "machine": machine(), "rows": values}, indent=1))
    else:
        for row in found:
            print(f"{row.case}: ours {row.ours:.4f}, TF-IDF {row.peer:.4f}; {row.same_work}")


if __name__ == "__main__":
    main()
