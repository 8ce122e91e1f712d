"""A wire to a service that can be shut: what is under way then stays under way for as long as a test likes."""

import socket
import threading


class Gate:
    """Forwards connections to an address. While it is shut, nothing comes back from there: at once, or after so many bytes."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.changed = threading.Condition()
        self.allowance = None  # bytes; None: as much as there is
        self.waiting = 0
        self.closed = False
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def shut(self, after=0):
        with self.changed:
            self.allowance = after

    def open(self):
        with self.changed:
            self.allowance = None
            self.changed.notify_all()

    def is_held(self):
        """True once something wants to come back and does not."""
        with self.changed:
            return self.waiting > 0

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:  # the service is away
                client.close()
                continue
            self.sockets += [client, server]
            threading.Thread(target=self.forward, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.forward, args=(server, client, True), daemon=True).start()

    def pass_through(self, data, to):
        while data:
            with self.changed:
                self.waiting += 1
                self.changed.wait_for(lambda: self.allowance is None or self.allowance > 0 or self.closed)
                self.waiting -= 1
                part = data if self.allowance is None else data[: self.allowance]
                if self.allowance is not None:
                    self.allowance -= len(part)
            to.sendall(part)
            data = data[len(part) :]

    def forward(self, source, to, gated):
        try:
            while data := source.recv(65536):
                if gated:
                    self.pass_through(data, to)
                else:
                    to.sendall(data)
        except OSError:
            pass
        for end in (source, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        with self.changed:
            self.closed, self.allowance = True, None
            self.changed.notify_all()
        self.listener.close()
        for one in self.sockets:
            one.close()
