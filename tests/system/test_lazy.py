import sys

import pytest

from tlcli.errors import ModelError
from tlcli.system.lazy import start_openvino


@pytest.mark.parametrize("installed", [True, False])
def test_an_openvino_that_cannot_be_imported_is_a_coded_error(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    if installed:

        class Broken:
            def find_spec(self, name: str, *_: object) -> None:
                if name == "openvino":
                    raise ImportError("libtbb.so.12: cannot open shared object file")

        monkeypatch.delitem(sys.modules, "openvino", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    else:
        monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError) as error:
        start_openvino()
    assert error.value.code == "model.openvino_not_importable"
