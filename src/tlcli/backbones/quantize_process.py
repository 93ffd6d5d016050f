"""A process that quantises a graph with NNCF: slow to import, and it leaves hundreds of megabytes behind.

Importing this module is cheap; only its ``main`` imports NNCF.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main() -> None:
    """Does what its argument describes: ``graph`` (path of an IR), ``images`` (.npy of uint8 [n, H, W, 3]), ``out``.

    Options were chosen on Alien vs. Predator with efficientnet_lite0 (200 images, 64 for calibration): cosine with
    the float features, mean and least, and share of equal labels.

    =========================================  ======  ======  ======
    performance preset                          0.979   0.862   0.975
    mixed preset                                0.976   0.874   0.975
    performance, no overflow fix                0.989   0.960   0.980
    the same, full bias correction              0.995   0.982   0.995
    =========================================  ======  ======  ======

    The overflow fix spends half the range of the first layers' weights on processors before VNNI (2019), which add up
    products in 16 bits; 32, 128 and 300 images gave what 64 gave.
    """
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    from tlcli.backbones.side_outputs import join  # noqa: PLC0415 - imports OpenVINO

    request = json.loads(sys.argv[1])
    images = np.load(request["images"])
    whole = openvino.Core().read_model(request["graph"])
    join(whole)
    graph = nncf.quantize(
        whole,
        nncf.Dataset(list(images[:, np.newaxis])),  # one image a step: uint8 [1, H, W, 3]
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(images),
        fast_bias_correction=False,
        advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.DISABLE),
    )
    openvino.save_model(graph, Path(request["out"]) / "model.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main()
