"""A page of a PDF as an image, with the passage and the quote highlighted."""

from __future__ import annotations

import io
from pathlib import Path

from ingest import page_rectangles, render_page

_PASSAGE_COLOR = (255, 221, 64, 70)  # red, green, blue, opacity (of 255)
_QUOTE_COLOR = (255, 166, 0, 120)
_MARGIN_PIXELS = 1.5  # letters touch the edges of their boxes


def marked_page(
    path: Path, page: int, *, passage: tuple[int, int] | None, quote: tuple[int, int] | None, scale: float
) -> bytes:
    """Return a page as a PNG of `scale` pixels per point, with character ranges highlighted; raises UnreadablePDF."""
    from PIL import Image, ImageDraw

    image = Image.open(io.BytesIO(render_page(path, page, scale=scale))).convert("RGBA")
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    width, height = image.size
    for characters, color in ((passage, _PASSAGE_COLOR), (quote, _QUOTE_COLOR)):
        if characters is None:
            continue
        for left, top, right, bottom in page_rectangles(path, page, *characters):
            start = (left * width - _MARGIN_PIXELS, top * height - _MARGIN_PIXELS)
            draw.rectangle((start, (right * width + _MARGIN_PIXELS, bottom * height + _MARGIN_PIXELS)), fill=color)
    png = io.BytesIO()
    Image.alpha_composite(image, layer).convert("RGB").save(png, "PNG")
    return png.getvalue()
