"""Shows what quire does: ingests a PDF, asks it, shows quotes, pages and a refusal; run by `make demo`.

Everything is done by the command `quire`, as a person would type it, in a separate home folder.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "demo-home"
QUESTIONS = (
    "How many redirects are followed when a link is fetched?",
    "Which environment variable sets the home folder?",
    "Which adapter does DPO use as its reference?",
)
UNANSWERED = "At what temperature does mercury boil?"
# variables that would make the demo use the person's own store or model
IGNORED_VARIABLES = ("QUIRE_STORE", "QUIRE_TENANT", "QUIRE_EMBEDDER", "QUIRE_MODEL", "WEAVIATE_URL")


def main(argv: list[str]) -> int:
    """Run the demo on the handbook, or on the given file or link; return the first failing command's exit code."""
    parser = argparse.ArgumentParser(description="Ingest a PDF and ask it, with no model and no server.")
    parser.add_argument("--pdf", metavar="PATH_OR_LINK", help="your own PDF (default: the handbook)")
    parser.add_argument("--question", metavar="Q", help="your own question")
    parser.add_argument("--home", metavar="FOLDER", type=Path, default=HOME, help="where the demo stores its library")
    args = parser.parse_args(argv)
    home = args.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    if args.pdf:
        source = args.pdf if "://" in args.pdf else str(Path(args.pdf).expanduser().resolve())
        library = f"own-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    else:
        source, library = str(_build_handbook(home)), "handbook"
    asked = args.question or ("What is this document about?" if args.pdf else None)
    questions = (asked,) if asked else (*QUESTIONS, UNANSWERED)

    code = _quire("ingest", source, home=home, library=library)
    for question in questions:
        if code:
            return code
        if question == UNANSWERED:
            print("\nAnd one that the handbook does not answer:", flush=True)
        code = _quire("ask", question, "--model", "quotes", home=home, library=library)
    if not code:
        _print_next_steps(args.pdf, args.question)
    return code


def _build_handbook(home: Path) -> Path:
    """Return the path of the handbook, after building it if its text has changed."""
    folder = Path(__file__).resolve().parent
    handbook = home / "handbook.pdf"
    sources = [folder / "build_handbook.py", *(folder / "handbook").glob("*.md")]
    if not handbook.is_file() or any(handbook.stat().st_mtime < source.stat().st_mtime for source in sources):
        sys.path.insert(0, str(folder))
        from build_handbook import build

        print(f"building {_short(str(handbook))}: {build(handbook)} pages", flush=True)
    return handbook


def _quire(command: str, *arguments: str, home: Path, library: str) -> int:
    shown = [f'"{a}"' if " " in a and not set(a) & set('"$`\\!') else shlex.quote(_short(a)) for a in arguments]
    print(f"\n$ quire {command} {' '.join(shown)}", flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in IGNORED_VARIABLES}
    environment |= {"QUIRE_HOME": str(home), "QUIRE_LIBRARY": library}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    # run in the demo's home folder, so that a quire.toml in the checkout is not read
    return subprocess.run(
        [sys.executable, "-m", "quire", command, *arguments], cwd=home, env=environment, check=False
    ).returncode


def _short(argument: str) -> str:
    path = Path(argument)
    return str(path.relative_to(ROOT)) if path.is_absolute() and path.is_relative_to(ROOT) else argument


def _print_next_steps(pdf: str | None, question: str | None) -> None:
    rows = []
    if not pdf:
        rows.append(('make demo PDF=path/or/link.pdf Q="your question"', "this demo with your own file"))
    elif not question:
        rows.append((f'make demo PDF={shlex.quote(pdf)} Q="your question"', "ask it a question"))
    rows += [
        (".venv/bin/quire ingest ~/Documents", "your own library"),
        ('.venv/bin/quire ask "your question"', "cited answers; with Ollama, in sentences"),
        (".venv/bin/quire doctor", "what is installed, what is missing, and how to fix it"),
        ("make app", "the web page"),
    ]
    width = max(len(command) for command, _ in rows)
    print("\nNext, with your own documents:")
    for command, what in rows:
        print(f"  {command:<{width}}   {what}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
