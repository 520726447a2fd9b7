import functools

import pytest


@pytest.fixture(autouse=True, scope="session")
def quick_exports():
    """Let torch's exporter make its table of operators once; it takes half a second each time."""
    from onnxscript._framework_apis import torch_2_5

    with pytest.MonkeyPatch.context() as patch:
        cached = functools.cache(torch_2_5.get_torchlib_ops)
        patch.setattr(torch_2_5, "get_torchlib_ops", cached)
        yield
