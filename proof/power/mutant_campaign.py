"""The campaign ``power-mutants``."""

from .campaign import run_mutants as run

__all__ = ["run"]
