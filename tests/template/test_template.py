"""The template as it is."""

import tomllib

import pytest
from checks import CHECKS, ROOT


@pytest.mark.parametrize("name", CHECKS)
def test_holds(name, stack):
    problems = list(CHECKS[name](stack))
    assert not problems, "\n".join(problems)


def test_settings_suit_the_template():
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    name = settings["global"]["parameters"]["stack_name"]
    # 63 characters of a bucket name, less `-prepared-`, an account id, `-` and the longest Region, ap-southeast-1.
    assert name == name.lower() and len(name) <= 63 - 10 - 12 - 1 - 14
    assert set(settings["deploy"]["parameters"]["capabilities"]) == {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}
    assert settings["deploy"]["parameters"]["tags"], "cost cannot be told apart without a tag"
