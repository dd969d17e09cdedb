"""`python -m espnet_ext` is `espnet-ext`."""

from espnet_ext.bin.entry import main

main()
