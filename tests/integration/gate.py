"""A wire to a service that can be shut: what is under way then stays under way for as long as a test likes."""

import socket
import threading


class Gate:
    """Forwards connections to an address. While it is shut, nothing comes back from there: at once, or after so many bytes.
    Or, with requests=True, nothing gets there; with a part, nothing that holds that part."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.changed = threading.Condition()
        self.allowance = None  # bytes; None: as much as there is
        self.requests = False
        self.part = b""
        self.held = []
        self.closed = False
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def shut(self, after=0, requests=False, part=b""):
        with self.changed:
            self.allowance, self.requests, self.part = after, requests, part

    def open(self):
        with self.changed:
            self.allowance = None
            self.changed.notify_all()

    def cut(self):
        """Ends the connections that there are, with what is held; new ones pass."""
        for one in self.sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended already
                pass
        self.open()

    def is_held(self, part=b""):
        """True once something wants to pass, and does not; something with that part."""
        with self.changed:
            return any(part in data for data in self.held)

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
            threading.Thread(target=self.forward, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.forward, args=(server, client, False), daemon=True).start()

    def pass_through(self, data, to, is_request):
        def free():
            return self.allowance is None or is_request != self.requests or self.part not in data

        while data:
            with self.changed:
                self.held.append(data)
                self.changed.wait_for(lambda: free() or self.allowance > 0 or self.closed)
                self.held.remove(data)
                part = data if free() else data[: self.allowance]
                if not free():
                    self.allowance -= len(part)
            to.sendall(part)
            data = data[len(part) :]

    def forward(self, source, to, is_request):
        try:
            while data := source.recv(65536):
                self.pass_through(data, to, is_request)
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
