"""What a device could do at best, without which there is no utilisation.

Figures are NVIDIA's data sheets', without sparsity.
"""

import torch

from training.config import Precision

# TFLOP/s by a part of the device's name, the special before the general: matrix products in
# bfloat16 with float32 sums, in TF32, and float32 without tensor cores.
PEAKS: dict[str, tuple[float, float, float]] = {
    "B200": (2250, 1125, 75),
    "H200 NVL": (835, 418, 60),
    "GH200": (989, 495, 67),
    "H200": (989, 495, 67),
    "H100 NVL": (835, 418, 60),
    "H100 PCIe": (756, 378, 51),
    "H100": (989, 495, 67),
    "A100": (312, 156, 19.5),
    "A10G": (70, 35, 31.5),
    "A10": (125, 62.5, 31.2),
    "L40S": (362, 183, 91.6),
    "L40": (181, 90.5, 90.5),
    "L4": (121, 60, 30.3),
    "RTX 4090": (165, 82.6, 82.6),
    "RTX 3090": (71, 35.6, 35.6),
}
SHARED = "MIG"  # a part of a device: how large a part, its name tells in a way of its own


def peak_flops(device: torch.device, precision: Precision, *, told: float = 0.0) -> float | None:
    """Return FLOP/s of one device; None if nobody knows, rather than a guess.

    Args:
        device: Where a rank computes.
        precision: Of the towers.
        told: `log.peak_tflops`; above 0 it is the answer.
    """
    if told > 0:
        return told * 1e12
    if device.type != "cuda":
        return None
    tf32 = torch.get_float32_matmul_precision() != "highest"
    return by_name(torch.cuda.get_device_name(device), precision, tf32=tf32)


def by_name(name: str, precision: Precision, *, tf32: bool) -> float | None:
    """Return FLOP/s of a device by the name its driver gives it."""
    if SHARED in name:
        return None
    words = name.replace("-", " ")
    for part, (half, middle, full) in PEAKS.items():
        if f" {part} " in f" {words} ":
            peak = half if precision == "bfloat16" else middle if tf32 else full
            return peak * 1e12
    return None
