"""A small HTTP client of the tests' own: it shows bytes, and sends what a proper client would not."""
import json
import socket


class Response:
    def __init__(self, status, headers, body):
        self.status, self.header_list, self.body = status, headers, body
        self.headers = {name.lower(): value for name, value in headers}

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """One connection; requests on it go one after the other."""

    def __init__(self, host, port, timeout=30, wrap=None, family=socket.AF_INET):
        if family == socket.AF_UNIX:
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.settimeout(timeout)
            self.socket.connect(host)
        else:
            self.socket = socket.create_connection((host, port), timeout)
        if wrap:
            self.socket = wrap(self.socket)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(1 << 16)
        self.buffer += data
        return bool(data)

    def _until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise ConnectionError(f"closed after {self.buffer!r}")
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def _exactly(self, count):
        while len(self.buffer) < count:
            if not self._more():
                raise ConnectionError(f"closed {count - len(self.buffer)} bytes early")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _chunks(self):
        body = b""
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                self._until(b"\r\n")
                return body
            body += self._exactly(size)
            self._exactly(2)

    def receive(self, method="GET"):
        while True:
            head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            if status >= 200:
                break
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in head[1:]]
        named = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif named.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif "content-length" in named:
            body = self._exactly(int(named["content-length"]))
        else:
            while self._more():
                pass
            body, self.buffer = self.buffer, b""
        return Response(status, headers, body)

    def request(self, method, path, body=None, headers=None):
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        return self.receive(method)

    def is_closed(self):
        """Whether the server has closed (waits for it)."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def close(self):
        self.socket.close()
