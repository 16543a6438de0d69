"""A worker that serves a page: `python -I -S page.py PORT [HOST]`. It says `serving` when it does."""

import socket
import sys

port, host = int(sys.argv[1]), (sys.argv[2:] or ["127.0.0.1"])[0]
listening = socket.create_server((host, port))
sys.stdout.write("serving\n")
sys.stdout.flush()
while True:
    client, _ = listening.accept()
    with client:
        client.recv(1000)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
