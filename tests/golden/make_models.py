"""Writes data/models/NAME/: run `python make_models.py [NAME…]` with what requirements.txt names. README.md has the
format."""

import itertools
import sys
import warnings

import transformers

from families import decoders, encoders, seq2seq, state_dicts, vision
from families.record import DATA, make


def main():
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    wanted = set(sys.argv[1:])
    specs = itertools.chain(encoders.models(), decoders.models(), seq2seq.models(), vision.models())
    for spec in specs:
        if not wanted or spec.name in wanted:
            make(spec)
    state_dicts.make(wanted)
    print(f"{sum(f.stat().st_size for f in DATA.rglob('*') if f.is_file()) / 2**20:.2f} MB")


if __name__ == "__main__":
    main()
