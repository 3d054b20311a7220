"""The rules, without I/O.

Nothing in this package reads a socket, a disk, a database, a clock or a Flask global. Functions take values and return
values, and raise the exceptions of :mod:`flask_resumable.errors`.
"""
