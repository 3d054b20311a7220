"""The rules, without input or output.

Nothing in this folder reads a socket, a disk, a database, a clock or a Flask global, and nothing here is imported for
its side effects: values come in, values go out, and what is wrong is raised from :mod:`flask_resumable.errors`.
"""
