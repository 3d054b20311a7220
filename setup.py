"""Everything is in pyproject.toml, apart from the description: on a package index, links need a host."""

import re
from pathlib import Path

from setuptools import setup

BLOB = "https://github.com/flask-resumable/flask-resumable/blob/main/"
RAW = "https://github.com/flask-resumable/flask-resumable/raw/main/"

readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
readme = re.sub(r"!\[([^\]]*)\]\((?!https?:)([^)\s]+)\)", rf"![\1]({RAW}\2)", readme)
readme = re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", rf"]({BLOB}\1)", readme)

setup(long_description=readme, long_description_content_type="text/markdown")
