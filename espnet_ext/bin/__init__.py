"""One command a stage; each a thin face over the library.

Heavy libraries are imported inside `main`, so that `--help` answers at once.
"""
