"""The older flow.js server, ``flowjs`` on Tornado, as its documentation has it. python flowjs_app.py PORT FOLDER"""

import os
import sys

import flowjs
import flowjs.requests
import tornado.ioloop
import tornado.web

PORT, HOME = int(sys.argv[1]), sys.argv[2]


class Upload(tornado.web.RequestHandler):
    """Takes chunks as forms."""

    def post(self):
        request = flowjs.requests.TornadoRequest(self)
        try:
            flowjs.save(os.path.join(HOME, request.get_file_name()), flowjs.Config({"tempDir": HOME}), request)
        except flowjs.BadRequest:
            self.set_status(400)


tornado.web.Application([("/flow/", Upload)]).listen(PORT, "127.0.0.1", max_buffer_size=2**30)
tornado.ioloop.IOLoop.current().start()
