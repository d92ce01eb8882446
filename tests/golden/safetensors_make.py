"""Makes the files of tests/golden/safetensors with the safetensors package (0.8.0) and torch (2.13.0).

usage: python tests/golden/safetensors_make.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "safetensors"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def main():
    values = torch.tensor([[0, 1, 2], [3, 4, 5]])
    save_file({name: values.to(dtype) for name, dtype in DTYPES.items()}, FOLDER / "dtypes.safetensors")
    save_file(
        {"scalar": torch.tensor(7.0), "none": torch.zeros(2, 0, 3), "größe \"q\"\\\n": torch.arange(3.0)},
        FOLDER / "shapes.safetensors",
        metadata={"format": "pt", "num_heads": "2", "näme": "a \"b\"\t✓"},
    )
    save_file({}, FOLDER / "empty.safetensors")
    save_file({"x": torch.zeros(2, dtype=torch.int16)}, FOLDER / "not_taken.safetensors")


if __name__ == "__main__":
    main()
