"""RapidOCR: the PP-OCR models in its package, run by onnxruntime; nothing is ever downloaded."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from pathlib import Path
from typing import Any

from ingest.errors import IngestError
from ingest.ocr.words import Piece, Word, split_line, upright
from quire import install_extra

_PACKAGE = "rapidocr"
_MODELS = {"Det": "det", "Rec": "rec"}  # finds lines, reads them; the classifier of turned lines makes more errors
_LINE_HEIGHT = 0.72  # of the box around a line, which reaches beyond its letters


class RapidOCR:
    """The two models, loaded once a process."""

    dpi = 150  # the reading of 200 dpi is not better and takes longer
    low_confidence = 0.9

    def __init__(self, threads: int) -> None:
        self.name = version()
        models = _model_files()
        import rapidocr

        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.use_cls": False,
                "Global.max_side_len": 1280,
                "Global.return_word_box": True,
                "Global.log_level": "critical",
                "Rec.rec_batch_num": 1,  # half the memory of 6
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                **{f"{part}.model_path": str(path) for part, path in models.items()},
            }
        )

    def read(self, picture: Any, seconds: float) -> list[Piece]:
        """Return the pieces of text on a gray picture, uint8 [height, width]; the caller watches the time."""
        import numpy as np

        height, width = picture.shape
        # a poster keeps the size of its letters
        self._engine.max_side_len = max(1280, round(max(height, width) * 0.73))
        found = self._engine(np.repeat(picture[:, :, None], 3, axis=2))
        if not found.txts:
            return []
        words = found.word_results if len(found.word_results or ()) == len(found.txts) else [()] * len(found.txts)
        lines = zip(found.boxes, found.txts, found.scores, words, strict=True)
        return [piece for line in lines if (piece := _piece(*line)).words]


def is_installed() -> bool:
    """Return whether the package is there."""
    return importlib.util.find_spec(_PACKAGE) is not None


def version() -> str:
    """Return "rapidocr 3.10.0"."""
    return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"


def _model_files() -> dict[str, Path]:
    """Return the models in the package: without their paths the package would look for others on the web."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise IngestError("RapidOCR is not installed", install_extra("ocr"))
    folder = Path(spec.origin).parent / "models"
    found = {part: sorted(folder.glob(f"*_{kind}_*.onnx")) for part, kind in _MODELS.items()}
    if not all(found.values()):
        raise IngestError(f"{version()} came without its models", "pip install --force-reinstall 'rapidocr>=3.10,<4'")
    return {part: files[0] for part, files in found.items()}


def _piece(quad: Any, text: str, score: float, words: Any) -> Piece:
    """Return the words of a line: the text has the blanks, the list of words has the places."""
    left, top, right, bottom = _lettered(upright(quad))
    parts = [(part, float(sure), _lettered(upright(place))) for part, sure, place in words or ()]
    if "".join(part for part, _, _ in parts).replace(" ", "") != text.replace(" ", ""):
        return split_line(text, (left, top, right, bottom), float(score))
    found = []
    for token in text.split():
        taken, length = [], 0
        while length < len(token):
            taken.append(parts.pop(0))
            length += len(taken[-1][0].replace(" ", ""))
        if length > len(token):  # a word of the list reaches over a blank of the text
            return split_line(text, (left, top, right, bottom), float(score))
        boxes = [place for _, _, place in taken]
        found.append(
            Word(
                token,
                min(box[0] for box in boxes),
                sum(box[1] for box in boxes) / len(boxes),
                max(box[2] for box in boxes),
                sum(box[3] for box in boxes) / len(boxes),
                min(sure for _, sure, _ in taken),
            )
        )
    return Piece(tuple(found))


def _lettered(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    cut = (1 - _LINE_HEIGHT) / 2 * (bottom - top)
    return left, top + cut, right, bottom - cut
