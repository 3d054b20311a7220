"""tuspyserver, as its documentation has it; the folder is in BENCH_HOME."""

import os

from fastapi import FastAPI
from tuspyserver import create_tus_router

app = FastAPI()
app.include_router(create_tus_router(files_dir=os.environ["BENCH_HOME"], max_size=1 << 40))
