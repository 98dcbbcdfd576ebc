"""Chromium without a screen, steered by the WebDriver protocol over plain HTTP."""
import base64
import http.client
import json
import shutil
import tempfile

from services import keeper

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class WebDriverError(Exception):
    pass


class Browser:
    def __init__(self, width=1100, height=720):
        self.dir = tempfile.mkdtemp(prefix="smallage-chromium-")
        keeper.keep_folder(self.dir)
        self.port = keeper.free_port()
        self.process = keeper.start(
            [shutil.which("chromedriver") or "/usr/bin/chromedriver", f"--port={self.port}"],
            log=f"{self.dir}/driver.log")
        keeper.wait_for_port(self.port)
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu",
                            "--disable-dev-shm-usage", "--no-first-run",
                            "--disable-background-networking", "--hide-scrollbars",
                            f"--user-data-dir={self.dir}/profile",
                            f"--window-size={width},{height}"]}
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.session = answer["sessionId"]
        self.requests = []  # (status, address) of everything that was loaded
        self.complaints = []  # of the pages' own programs

    def close(self):
        try:
            self._call("DELETE", f"/session/{self.session}")
        except (OSError, WebDriverError):
            pass
        keeper.end(self.process)
        keeper.drop_folder(self.dir)

    def _call(self, method, path, body=None):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            link.request(method, path, None if body is None else json.dumps(body),
                         {"Content-Type": "application/json"})
            value = json.loads(link.getresponse().read())["value"]
        finally:
            link.close()
        if isinstance(value, dict) and value.get("error"):
            raise WebDriverError(f"{value['error']}: {value.get('message', '')[:300]}")
        return value

    def _do(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self.gather()
        self._do("POST", "/url", {"url": url})

    def run(self, script, *args):
        """The value of a JavaScript function's body."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(args)})

    def find(self, selector):
        value = self._do("POST", "/element", {"using": "css selector", "value": selector})
        return value[ELEMENT]

    def click(self, selector, timeout=5):
        """As a person does: it has to be visible, and nothing may lie over it."""
        seen = []

        def clicks():
            try:
                self.run("document.querySelector(arguments[0])?.scrollIntoView("
                         "{block: 'center', behavior: 'instant'})", selector)
                self._do("POST", f"/element/{self.find(selector)}/click", {})
                return True
            except WebDriverError as error:
                seen[:] = [error]
                return False
        try:
            keeper.wait_until(clicks, timeout, selector, 0.1)
        except AssertionError:
            raise AssertionError(f"{selector}: {seen}") from None

    def type(self, selector, text):
        element = self.find(selector)
        self._do("POST", f"/element/{element}/clear", {})
        self._do("POST", f"/element/{element}/value", {"text": str(text)})

    def text(self, selector):
        """The visible text; "" where there is none."""
        return self.run("let e = document.querySelector(arguments[0]);"
                        "return e && e.checkVisibility() ? e.innerText : ''", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])]"
                        ".map(e => e.innerText.trim())", selector)

    def rows(self, selector):
        """Cells of a table's body."""
        return self.run("return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map("
                        "r => [...r.querySelectorAll('td')].map(c => c.innerText.trim()))", selector)

    def wait(self, question, timeout=10, what="the page"):
        return keeper.wait_until(question, timeout, what, 0.1)

    def gather(self):
        """Takes in what was loaded and complained about since."""
        for entry in self._do("POST", "/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.responseReceived":
                response = message["params"]["response"]
                self.requests.append((response["status"], response["url"]))
        self.complaints += [entry["message"] for entry in self._do("POST", "/se/log",
                                                                   {"type": "browser"})
                            if entry["level"] == "SEVERE"]

    def picture(self, path):
        with open(path, "wb") as out:
            out.write(base64.b64decode(self._do("GET", "/screenshot")))
