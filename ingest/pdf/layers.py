"""Layers of a PDF (optional content): leaves out what the document hides when it is opened."""

from __future__ import annotations

import io
import logging
import re
import zlib
from pathlib import Path
from typing import Any

from ingest.errors import UnreadablePDF
from ingest.pdf.pypdf import open_reader

log = logging.getLogger(__name__)

_MOST_FORMS = 2_000  # of a page
_MOST_BYTES = 200_000_000  # of all streams of objects
_DEEPEST = 12  # forms within forms, expressions within expressions
_MARKED = re.compile(rb"/OC\s*(/[^\s/<>\[\]()]+)\s*BDC")
_PAINTS_PATH = frozenset((b"S", b"s", b"f", b"F", b"f*", b"B", b"B*", b"b", b"b*"))
_SHOWS = frozenset((b"Tj", b"TJ", b"Do", b"sh", b"INLINE IMAGE"))


def as_shown(path: Path, password: str | None, page: int | None = None, reader: Any = None) -> bytes | None:
    """Return the document without its hidden layers, or None if it has none: then the file is as it is shown.

    PDFium's text knows no layers. With `page` (from 0) only that page is changed; `reader` is pypdf's, if it is open.
    Marks, positions and the order of the pages stay. Raises UnreadablePDF if pypdf cannot read a file that has hidden
    layers.
    """
    from pypdf import PdfWriter

    if reader is None and not _may_have_layers(path):
        return None
    try:
        reader = reader or open_reader(path, password, count_pages=False)
        view = _DefaultView(reader.root_object.get("/OCProperties"))
        numbers = [] if not view.off else range(len(reader.pages)) if page is None else [page]
        # writing a document takes seconds, and many have hidden layers that no page uses
        concerned = [number for number in numbers if _uses_hidden(reader.pages[number], view)]
    except Exception as exc:  # pypdf raises anything on damaged files; PDFium may read them all the same
        log.debug("%s: layers: %r", path, exc)
        return None
    if not concerned:
        return None
    try:
        writer = PdfWriter(clone_from=reader)
        view = _DefaultView(writer.root_object.get("/OCProperties"))
        for number in concerned:
            _hide_on_page(writer, writer.pages[number], view)
        written = io.BytesIO()
        writer.write(written)
    except MemoryError:
        raise
    except Exception as exc:
        raise UnreadablePDF(
            f"{path.name}: its hidden layers cannot be told from what it shows ({type(exc).__name__})",
            "open it in a viewer, print it to a PDF, and add that",
        ) from exc
    return written.getvalue()


def _may_have_layers(path: Path) -> bool:
    """Return whether the catalog of a file may name layers; pypdf needs seconds for that in a large file."""
    content = path.read_bytes()
    if b"/OCProperties" in content or b"/Encrypt" in content:
        return True
    inflated = 0
    for found in re.finditer(rb"/ObjStm\b.{0,400}?stream\r?\n", content, re.DOTALL):  # the catalog may be in one
        try:
            objects = zlib.decompressobj().decompress(memoryview(content)[found.end() :], _MOST_BYTES)
        except zlib.error:
            return True
        inflated += len(objects)
        if b"/OCProperties" in objects or inflated >= _MOST_BYTES:
            return True
    return False


class _DefaultView:
    """Which layers are off when the document is opened (ISO 32000-1, 8.11)."""

    def __init__(self, properties: Any) -> None:
        self.off: set[int] = set()
        if properties is None:
            return
        properties = properties.get_object()
        default = _get(properties, "/D") or {}
        if _get(default, "/BaseState") == "/OFF":
            self.off = _numbers(_get(properties, "/OCGs"))
        self.off |= _numbers(_get(default, "/OFF"))
        self.off -= _numbers(_get(default, "/ON"))
        for usage in _get(default, "/AS") or ():
            usage = usage.get_object()
            if _get(usage, "/Event") == "/View" and "/View" in (_get(usage, "/Category") or ()):
                self._apply_view_states(_get(usage, "/OCGs") or ())

    def _apply_view_states(self, groups: Any) -> None:
        for group in groups:
            state = _get(_get(_get(group.get_object(), "/Usage") or {}, "/View") or {}, "/ViewState")
            if state == "/OFF":
                self.off |= _numbers([group])
            elif state == "/ON":
                self.off -= _numbers([group])

    def hides(self, content: Any) -> bool:
        """Return whether a group, or a membership of groups, is not shown."""
        if content is None:
            return False
        group = content.get_object()
        if _get(group, "/Type") != "/OCMD":
            return _number(content) in self.off
        expression = _get(group, "/VE")
        if expression is not None:
            return not self._is_true(expression, 0)
        groups = _raw(group, "/OCGs")
        listed = groups.get_object() if groups is not None else None
        members = [g for g in (listed if isinstance(listed, list) else [groups]) if g is not None]
        on = [_number(member) not in self.off for member in members]
        if not on:
            return False
        policy = _get(group, "/P") or "/AnyOn"
        shown = {"/AllOn": all(on), "/AnyOff": not all(on), "/AllOff": not any(on)}.get(policy, any(on))
        return not shown

    def _is_true(self, expression: Any, depth: int) -> bool:
        listed = expression.get_object()
        if depth > _DEEPEST:
            return True
        if not isinstance(listed, list) or not listed:
            return _number(expression) not in self.off
        values = [self._is_true(part, depth + 1) for part in listed[1:]]
        operator = listed[0]
        return not all(values) if operator == "/Not" else any(values) if operator == "/Or" else all(values)


def _uses_hidden(page: Any, view: _DefaultView) -> bool:
    """Return whether something of a page is on a hidden layer; many documents only list such layers."""
    if any(view.hides(_raw(a.get_object(), "/OC")) for a in _get(page, "/Annots") or ()):
        return True
    contents = page.get_contents()
    data = contents.get_data() if contents is not None else b""
    return _draws_hidden(data, _get(page, "/Resources") or {}, view, set())


def _draws_hidden(data: bytes, resources: Any, view: _DefaultView, seen: set[int]) -> bool:
    properties, objects = _get(resources, "/Properties") or {}, _get(resources, "/XObject") or {}
    if any(view.hides(_raw(properties, name.decode("latin-1"))) for name in _MARKED.findall(data)):
        return True
    for reference in objects.values():
        drawn = reference.get_object()
        if view.hides(_raw(drawn, "/OC")):
            return True
        if drawn.get("/Subtype") == "/Form" and id(drawn) not in seen and len(seen) < _MOST_FORMS:
            seen.add(id(drawn))
            if _draws_hidden(drawn.get_data(), _get(drawn, "/Resources") or resources, view, seen):
                return True
    return False


def _hide_on_page(writer: Any, page: Any, view: _DefaultView) -> None:
    from pypdf.generic import ArrayObject, NameObject

    contents = page.get_contents()
    if contents is not None:
        kept = _shown(writer, contents, _get(page, "/Resources") or {}, view, set(), 0)
        if kept is not None:
            page[NameObject("/Contents")] = writer._add_object(kept)
    annotations = _get(page, "/Annots")
    if annotations:
        shown = [a for a in annotations if not view.hides(_raw(a.get_object(), "/OC"))]
        page[NameObject("/Annots")] = ArrayObject(shown)


def _shown(writer: Any, content: Any, resources: Any, view: _DefaultView, seen: set[int], depth: int) -> Any:
    """Return a content stream without what is hidden, None if nothing is; forms that it draws are changed in place."""
    from pypdf.generic import ContentStream

    stream = content if isinstance(content, ContentStream) else ContentStream(content, writer)
    properties, objects = _get(resources, "/Properties") or {}, _get(resources, "/XObject") or {}
    nesting: list[bool] = []  # for each open mark: whether its content is hidden
    kept = []
    for operands, operator in stream.operations:
        if operator in (b"BDC", b"BMC"):
            layer = _layer(operands, properties) if operator == b"BDC" else None
            nesting.append(bool(nesting and nesting[-1]) or view.hides(layer))
        elif operator == b"EMC" and nesting:
            nesting.pop()
        hidden = bool(nesting and nesting[-1])
        if operator == b"Do" and not hidden and operands:
            hidden = _hide_in_object(writer, objects.get(operands[0]), resources, view, seen, depth)
        kept += _without_marks(operands, operator) if hidden else [(operands, operator)]
    if len(kept) == len(stream.operations) and all(
        a is b for (_, a), (_, b) in zip(kept, stream.operations, strict=True)
    ):
        return None
    stream.operations = kept
    return stream


def _layer(operands: Any, properties: Any) -> Any:
    if len(operands) != 2 or operands[0] != "/OC":
        return None
    return _raw(properties, operands[1])


def _without_marks(operands: Any, operator: bytes) -> list[tuple[Any, bytes]]:
    """Return what a hidden operator leaves: the state of text and path goes on, nothing is shown."""
    if operator in _SHOWS:
        return []
    if operator in _PAINTS_PATH:
        return [([], b"n")]
    if operator == b"'":
        return [([], b"T*")]
    if operator == b'"':
        return [([operands[0]], b"Tw"), ([operands[1]], b"Tc"), ([], b"T*")]
    return [(operands, operator)]


def _hide_in_object(
    writer: Any, reference: Any, resources: Any, view: _DefaultView, seen: set[int], depth: int
) -> bool:
    """Return whether a drawn object is hidden as a whole; hide what is hidden within a form."""
    if reference is None:
        return False
    drawn = reference.get_object()
    if view.hides(_raw(drawn, "/OC")):
        return True
    if drawn.get("/Subtype") != "/Form" or depth > _DEEPEST or id(drawn) in seen:
        return False
    seen.add(id(drawn))
    kept = _shown(writer, drawn, _get(drawn, "/Resources") or resources, view, seen, depth + 1)
    if kept is not None:
        drawn.set_data(kept.get_data())
    return False


def _get(dictionary: Any, key: str) -> Any:
    value = dictionary.get(key)
    return value.get_object() if hasattr(value, "get_object") else value


def _raw(dictionary: Any, key: str) -> Any:
    """Return a value as it stands, a reference unresolved: groups are told apart by their object numbers."""
    return dictionary.raw_get(key) if key in dictionary else None


def _number(reference: Any) -> int:
    """Return the object number of a group, -1 for one that is no object of its own."""
    indirect = getattr(reference, "indirect_reference", None) or reference
    return int(getattr(indirect, "idnum", -1))


def _numbers(references: Any) -> set[int]:
    return {_number(reference) for reference in references or ()}
