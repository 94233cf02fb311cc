"""`python -m heedful` and `torchrun -m heedful`: the command."""

import sys

from heedful.cli import main

sys.exit(main())
