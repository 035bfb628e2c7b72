"""A port of the host that leads to a guest on the bridge is nobody else's as long as it does.

The hypervisors are tests/fake/qemu.c."""

import errno
import os
import signal
import socket

from harness import check, equal, free_port, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "0", "--ready", "none", "--network", "bridge")


def is_free(port, kind=socket.SOCK_STREAM, address="127.0.0.1"):
    with socket.socket(socket.AF_INET, kind) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
            if kind == socket.SOCK_STREAM:
                s.listen()
        except OSError as e:
            equal(e.errno, errno.EADDRINUSE, "why not")
            return False
        return True


def scenario_a_forwarded_port_is_held(home):
    home.fake_qemu()
    one, two = free_port(), free_port()
    home.banger("create", "a", *FLAGS, "--port", f"{one}:80", "--port", f"{two}:53/udp")
    check(not is_free(one) and not is_free(one, address="0.0.0.0"), "the TCP port is taken")
    check(not is_free(two, socket.SOCK_DGRAM) and is_free(two), "and the UDP port, as UDP only")
    home.kill_daemon()
    home.vms()
    check(not is_free(one) and not is_free(two, socket.SOCK_DGRAM), "held by the next bangerd")
    home.banger("set", "a", f"ports={two}:80")
    check(is_free(one) and not is_free(two), "as the spec says now")
    home.banger("stop", "a")
    check(is_free(two), "free while it does not run")
    # Somebody took it meanwhile: he is named, and nothing is left of the try.
    with socket.create_server(("127.0.0.1", two)):
        result = home.banger("start", "a", code=None)
        check(result.code != 0 and f"(pid {os.getpid()})" in result.err and f"127.0.0.1:{two}/tcp" in result.err, result)
    home.banger("start", "a")
    check(not is_free(two), "taken again")
    # A hypervisor that dies lets go of it, too, and is back with it.
    os.kill(home.vm("a")["pid"], signal.SIGKILL)
    wait_for("it is back", 20, lambda: home.vm("a")["restarts"] == 1 and not is_free(two), 0.2)
    home.banger("delete", "a", "--yes")
    check(is_free(two), "free at the end")
