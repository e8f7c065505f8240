from assistant.evaluation.page_ids import page_id, page_of


def test_an_id_of_a_page_holds_no_blank_and_is_read_back():
    identifier = page_id("annual report #1.pdf", 12)
    assert identifier == "annual%20report%20%231.pdf#p12"
    assert page_of(identifier) == ("annual report #1.pdf", 12)
    assert page_of("MED-10") is None
