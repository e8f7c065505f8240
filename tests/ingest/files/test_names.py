import pytest

from ingest.files.names import display_names, file_name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/home/a/Report 2022.pdf", "Report 2022.pdf"),
        ("https://example.org/papers/a%20b.pdf?token=secret", "a b.pdf"),
        ("https://example.org", "example.org"),
        ("upload:../../x.pdf", "../../x.pdf"),
        (r"C:\files\a.pdf", "a.pdf"),
    ],
)
def test_file_name_is_the_last_part_of_the_source(source: str, name: str) -> None:
    assert file_name(source) == name


def test_names_take_as_many_folders_as_make_them_unique() -> None:
    names = display_names(dict.fromkeys(["/r/2021/q1/a.pdf", "/r/2022/q1/a.pdf", "/r/2022/b.pdf"], ""))
    assert names == {
        "/r/2021/q1/a.pdf": "2021/q1/a.pdf",
        "/r/2022/q1/a.pdf": "2022/q1/a.pdf",
        "/r/2022/b.pdf": "b.pdf",
    }


def test_what_still_collides_is_numbered() -> None:
    names = display_names({"/a.pdf": "", "upload:a.pdf": ""})
    assert sorted(names.values()) == ["a.pdf", "a.pdf (2)"]


def test_the_name_that_a_server_gave_takes_the_place_of_the_last_part_of_its_link() -> None:
    names = display_names({"https://a.example/download?id=1": "Lease.pdf", "/home/Lease.pdf": "", "/home/b.pdf": ""})
    assert sorted(names.values()) == ["a.example/Lease.pdf", "b.pdf", "home/Lease.pdf"]


def test_links_that_differ_in_their_query_only_are_numbered() -> None:
    names = display_names({"https://a.example/download?id=1": "", "https://a.example/download?id=2": ""})
    assert sorted(names.values()) == ["a.example/download", "a.example/download (2)"]
