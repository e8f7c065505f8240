import pytest

from assistant.config import CONTROLS, AssistantConfig, Sampling, load_config
from quire import UsageError


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_the_ends_of_every_range_are_allowed_and_values_beyond_them_are_not(name):
    control = CONTROLS[name]
    for value in (control.minimum, control.maximum):
        Sampling(**{name: value})
    for value in (control.minimum - control.step, control.maximum + control.step):
        with pytest.raises(UsageError, match=rf"{name} is .* \(use a value from"):
            Sampling(**{name: value})


@pytest.mark.parametrize("value", ["warm", None, True, float("nan")])
def test_a_value_that_is_not_a_number_is_refused(value):
    with pytest.raises(UsageError, match="temperature is"):
        Sampling(temperature=value)


def test_a_config_out_of_range_is_refused():
    with pytest.raises(UsageError, match="use a value from 0 to 1"):
        AssistantConfig(temperature=1.5)
    with pytest.raises(UsageError, match="use 1 to 50"):
        AssistantConfig(passages=0)


def test_stop_texts_are_split_at_bars():
    assert AssistantConfig(stop="END|\n\n").sampling.stop == ("END", "\n\n")
    assert AssistantConfig().sampling.stop == ()


def test_flags_override_the_environment_which_overrides_the_file(tmp_path):
    (tmp_path / "quire.toml").write_text('[assistant]\nmodel = "quotes"\npassages = 3\ntemperature = 0.5\n')
    environ = {"QUIRE_HOME": str(tmp_path), "QUIRE_MODEL": "ollama:a"}
    config, settings = load_config(flags={"temperature": 0.1, "top_p": None}, environ=environ, folder=tmp_path)
    assert (config.model, config.passages, config.temperature) == ("ollama:a", 3, 0.1)
    origins = {setting.name: setting.origin for setting in settings}
    assert origins["model"] == "QUIRE_MODEL"
    assert origins["passages"] == str(tmp_path / "quire.toml")
    assert origins["temperature"] == "flag"
