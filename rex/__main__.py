"""`python -m rex`: the command `rex`, also where its script is not on PATH."""

from rex.local.start import main

main()
