"""boto3's own upload from the disk, driven over HTTP: boto3_app.py PORT FOLDER

PUT stores a body as a file in the folder, and POST uploads that file to the bucket.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer

import boto3
from botocore.config import Config

PORT, FOLDER = int(sys.argv[1]), sys.argv[2]
BUCKET = os.environ["BENCH_BUCKET"]
CLIENT = boto3.client(
    "s3",
    endpoint_url=os.environ["BENCH_ENDPOINT"],
    region_name=os.environ["AWS_REGION"],
    config=Config(s3={"addressing_style": "path"}, max_pool_connections=100),
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        with open(FOLDER + self.path, "wb") as file:
            while left:
                left -= file.write(self.rfile.read(min(left, 1 << 20)))
        self.answer()

    def do_POST(self) -> None:
        with open(FOLDER + self.path, "rb") as file:
            CLIENT.upload_fileobj(file, BUCKET, self.path[1:])
        self.answer()

    def answer(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
