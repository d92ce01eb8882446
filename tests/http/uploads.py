"""Uploads that a crash cuts short."""

import http.client
import random
import threading
import time


def send_slowly(port, body, content_type, seed):
    """Uploads piece by piece until the server is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest("PUT", "/models/m")
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        step = random.Random(seed).randrange(4096, len(body))
        for at in range(0, len(body), step):
            connection.send(body[at : at + step])
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def kill_during_uploads(server, bodies, content_type, seconds):
    """Two clients upload the bodies in turns, over and over; the server is killed that many seconds on."""

    def upload():
        for seed in range(10000):
            if server.process.poll() is not None:
                return
            send_slowly(server.port, bodies[seed % len(bodies)], content_type, seed)

    threads = [threading.Thread(target=upload) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)  # the moment of the crash, not a wait for something
    server.process.kill()
    server.process.wait()
    for thread in threads:
        thread.join()
