"""Fixtures of the tests of backbones."""

from tests.backbones.torch_pickles import torch_modules  # noqa: F401 - a fixture
