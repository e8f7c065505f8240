from assistant.cli import main


def test_models_lists_quotes_and_the_addresses_tried(home, capsys):
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert "* quotes" in out
    assert "127.0.0.1:9" in err
