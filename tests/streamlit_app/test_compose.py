"""docker-compose.yml, checked without a container engine."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ingest.store.weaviate.embedded import VERSION

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_every_port_is_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_service_has_a_health_check_and_named_volumes() -> None:
    for name, service in SERVICES.items():
        assert service["healthcheck"]["test"], name
        assert all(re.match(r"[a-z]+:/", volume) for volume in service["volumes"]), name


def test_images_are_pinned_to_a_version() -> None:
    for name, service in SERVICES.items():
        if "image" in service:
            assert re.search(r":\d+\.\d+\.\d+$", service["image"]), name
    assert re.match(
        r"FROM \S+:\d+\.\d+", next(x for x in (ROOT / "Dockerfile").read_text().splitlines() if x.startswith("FROM"))
    )


def test_weaviate_is_the_version_that_the_tests_run_on() -> None:
    assert SERVICES["weaviate"]["image"].endswith(f":{VERSION}")


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("QUIRE_APP_PASSWORD", "WEAVIATE_API_KEY"):
        assert set(re.findall(rf"\${{{name}[^}}]*}}", text)) and f"${{{name}:-" not in text
        assert all(":?" in use for use in re.findall(rf"\${{{name}[^}}]*}}", text))


def test_the_image_holds_every_package_that_is_installed() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.M)
    assert copied == ["quire", "ingest", "assistant", "finetune", "streamlit_app"]


def test_the_page_knows_every_setting_that_it_is_given() -> None:
    from assistant.config import ENVIRONMENT as ASSISTANT
    from ingest.config import ENVIRONMENT as INGEST
    from streamlit_app.settings import ENVIRONMENT as APP

    known = {name for table in (ASSISTANT, INGEST, APP) for names in table.values() for name in names}
    assert set(SERVICES["app"]["environment"]) <= known
