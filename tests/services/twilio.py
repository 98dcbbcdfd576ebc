"""Twilio's Messages API as strict as the real one about what it takes. Records what it took."""
import base64
import json
import re
import ssl
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "f" * 31 + "0"
SENDER = "+15005550006"

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_FIELDS = {"To", "From", "Body", "MessagingServiceSid", "StatusCallback", "MediaUrl",
           "ValidityPeriod", "MaxPrice", "Attempt", "SmartEncoded", "ShortenUrls"}


def _fault(status, code, message):
    return status, {"code": code, "message": message, "status": status,
                    "more_info": f"https://www.twilio.com/docs/errors/{code}"}


class Twilio:
    """script: answers for the next requests, before any check: (status, headers, body) or "close"
    or None (= judge this one). tls: an Authority; https then, and a certificate of it is wanted."""

    def __init__(self, account=ACCOUNT, token=TOKEN, sender=SENDER, tls=None):
        self.account, self.token, self.sender = account, token, sender
        self.script = []
        self.requests = []
        self.messages = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                owner.answer(self)

            def do_GET(self):
                self.close_connection = True
                owner.send(self, *_fault(405, 20004, "Method not allowed"))

            do_PUT = do_DELETE = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tls.file))
            context.load_cert_chain(*tls.issue("twilio"))
            context.verify_mode = ssl.CERT_REQUIRED
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    @staticmethod
    def send(handler, status, body, headers=()):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append({"path": handler.path, "headers": dict(handler.headers),
                              "body": body})
        prepared = self.script.pop(0) if self.script else None
        if prepared == "close":
            handler.close_connection = True
            handler.connection.close()
            return
        if prepared:
            status, headers, text = prepared
            self.send(handler, status, text, headers)
            return
        self.send(handler, *self.judge(handler.path, handler.headers, body))

    def judge(self, path, headers, body):
        if path != f"/2010-04-01/Accounts/{self.account}/Messages.json":
            return _fault(404, 20404, f"The requested resource {path} was not found")
        secret = base64.b64encode(f"{self.account}:{self.token}".encode()).decode()
        if headers.get("Authorization") != f"Basic {secret}":
            return _fault(401, 20003, "Authenticate")
        if headers.get("Content-Type", "").split(";")[0] != "application/x-www-form-urlencoded":
            return _fault(415, 20415, "Unsupported content type")
        try:
            form = urllib.parse.parse_qs(body.decode("ascii"), keep_blank_values=True,
                                         strict_parsing=True, errors="strict")
        except ValueError:
            return _fault(400, 20001, "Unable to parse the form")
        if set(form) - _FIELDS or any(len(values) != 1 for values in form.values()):
            return _fault(400, 20001, f"Unexpected parameter among {sorted(form)}")
        form = {name: values[0] for name, values in form.items()}
        if not form.get("To"):
            return _fault(400, 21604, "A 'To' phone number is required.")
        if not form.get("From") and not form.get("MessagingServiceSid"):
            return _fault(400, 21603, "A 'From' phone number is required.")
        if not _E164.fullmatch(form["To"]):
            return _fault(400, 21211, f"Invalid 'To' Phone Number: {form['To']}")
        if form.get("From") and form["From"] != self.sender:
            return _fault(400, 21606, f"The 'From' phone number provided ({form['From']}) is not a "
                          "valid message-capable Twilio phone number.")
        if not form.get("Body"):
            return _fault(400, 21602, "Message body is required.")
        if len(form["Body"]) > 1600:
            return _fault(400, 21617, "The concatenated message body exceeds the 1600 character "
                          "limit.")
        sid = f"SM{len(self.messages):032x}"
        self.messages.append({"sid": sid, **form})
        return 201, {"sid": sid, "account_sid": self.account, "to": form["To"],
                     "from": form.get("From"), "body": form["Body"], "status": "queued",
                     "num_segments": "1", "direction": "outbound-api", "api_version": "2010-04-01",
                     "error_code": None, "error_message": None, "price": None,
                     "price_unit": "USD", "uri": f"/2010-04-01/Accounts/{self.account}/Messages/"
                     f"{sid}.json"}
