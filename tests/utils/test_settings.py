"""`Config`: settings by attribute and by item, as in Keras."""

import keras
import pytest

from torchkeras.utils import Config


@pytest.mark.parametrize("make", [Config, keras.utils.Config], ids=["ours", "Keras's"])
def test_config(make):
    config = make(b=2, a=1)
    config.c = 3
    config["d"] = 4
    assert (config.a, config["c"], config.get("e", 5), len(config)) == (1, 3, 5, 4)
    assert list(config) == ["a", "b", "c", "d"]
    assert "a" in config
    assert config.pop("d") == 4
    config.update({"a": 0}, e=6)
    del config["e"]
    assert config.as_dict() == dict(config.items()) == {"b": 2, "a": 0, "c": 3}
    assert config.to_json() == '{"b": 2, "a": 0, "c": 3}'
    assert repr(config) == "<Config {'b': 2, 'a': 0, 'c': 3}>"
    with pytest.raises(AttributeError, match="Did you mean 'apples'"):
        _ = make(apples=1).aples


def test_a_frozen_config_refuses_changes():
    config = Config(a=1)
    assert not config.frozen
    config.freeze()
    for change in (
        lambda: setattr(config, "a", 2),
        lambda: config.update(b=2),
        lambda: config.pop("a"),
        lambda: config.clear(),
    ):
        with pytest.raises(ValueError, match="cannot be changed: the settings are fr"):
            change()
    assert config.as_dict() == {"a": 1}
    config.unfreeze()
    config.a = 2
    assert config.a == 2


def test_a_name_of_its_own_is_no_setting():
    config = Config()
    with pytest.raises(AttributeError, match=r"Set it as an item, config\['keys'\]"):
        config.__setattr__("keys", 3)
    config["keys"] = 3
    assert config["keys"] == 3
