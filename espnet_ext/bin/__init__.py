"""One command per stage, each a thin layer over the library.

Heavy libraries are imported inside `main`, so that `--help` answers at once.
"""
