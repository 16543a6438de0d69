"""Asking for pages of workers: real servers, with and without TLS, that answer well, badly, slowly or not at all."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import pytest_twisted
from twisted.internet import reactor

from controlplane.agent.leases import Machine
from controlplane.agent.pages import poll_page, poll_pages
from controlplane.paths import free_port
from controlplane.records.health_policies import UrlLook, UrlOptions
from tests.certificates import self_signed

test = pytest_twisted.ensureDeferred


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/slow"):
            self.server.over.wait(60)
        self.send_response(500 if self.path.startswith("/broken") else 200)
        body = b"a" * 40 + b"!" if self.path.startswith("/hard") else b"all is fine"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(params=["http", "https"])
def server(request, tmp_path):
    made = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    made.daemon_threads = True
    made.asked, made.over = [], threading.Event()
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made_up, chain = self_signed(), tmp_path / "server.pem"
        chain.write_bytes(made_up.key + made_up.certificate)
        context.load_cert_chain(chain)
        made.socket = context.wrap_socket(made.socket, server_side=True)
    made.url = f"{request.param}://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.over.set()
    made.shutdown()
    made.server_close()
    thread.join()


async def look(url, **options):
    given = {"poll_url_retry_limit": 1, "poll_url_timeout": 30, "poll_url_ssl_verify": False, **options}
    return await poll_page(reactor, UrlLook(url=url, options=UrlOptions(poll_url="http://x", **given)))


@test
async def test_a_page_is_good_by_its_status_and_by_what_is_in_it(server):
    assert (await look(f"{server.url}/a?b=c")).well
    assert server.asked == ["/a?b=c"]
    assert (await look(server.url, poll_url_healthy_response="is fine")).well
    assert (await look(server.url, poll_url_healthy_response="^a+l+ is")).well
    found = await look(server.url, poll_url_healthy_response="^fine$")
    assert (found.well, "answered without '^fine$'" in found.reason) == (False, True)
    found = await look(f"{server.url}/broken")
    assert (found.well, "answered with status 500" in found.reason) == (False, True)
    assert (await look(f"{server.url}/broken", poll_url_healthy_status_max=599)).well


@test
async def test_a_page_is_asked_for_again_before_it_is_bad(server):
    found = await look(f"{server.url}/broken", poll_url_retry_limit=3, poll_url_retry_interval=0.1)
    assert (found.well, found.reason.endswith("3 times in a row"), len(server.asked)) == (False, True, 3)


@test
async def test_a_page_that_is_slow_is_not_waited_for_and_holds_up_no_other(server):
    options = UrlOptions(poll_url="http://x", poll_url_timeout=2, poll_url_retry_limit=1, poll_url_ssl_verify=False)
    looks = {name: UrlLook(url=f"{server.url}/{name}", options=options) for name in ("slow", "fast")}
    found = await poll_pages(reactor, {"slow": looks["slow"]})
    assert "did not answer within 2 s" in found["slow"]["reason"]
    patient = UrlOptions(poll_url="http://x", poll_url_timeout=30, poll_url_retry_limit=1, poll_url_ssl_verify=False)
    looks["fast"] = UrlLook(url=f"{server.url}/fast", options=patient)
    found = await poll_pages(reactor, looks)
    assert (found["slow"]["well"], found["fast"]["well"]) == (False, True)


@test
async def test_a_pattern_that_takes_for_ever_is_given_up(server):
    found = await look(f"{server.url}/hard", poll_url_healthy_response="(a+)+$", poll_url_timeout=2)
    assert not found.well


@test
async def test_a_certificate_of_nobody_is_refused_unless_it_is_said_not_to_matter(server):
    found = await look(server.url, poll_url_ssl_verify=True)
    assert found.well == server.url.startswith("http:")
    if not found.well:
        assert "certificate" in found.reason.lower()


@test
async def test_nobody_who_answers_is_bad_unless_it_is_said_not_to_be():
    url = f"http://127.0.0.1:{free_port(0)}/"
    assert "gave no answer" in (await look(url)).reason
    assert (await look(url, poll_url_conn_error_as_unhealthy=False)).well


def test_the_time_of_leases_is_kept_for_the_next_run_of_the_agent_on_this_run_of_the_machine(tmp_path):
    one = Machine(reactor, tmp_path)
    assert one.read() is None
    one.write(17.5)
    assert Machine(reactor, tmp_path).read() == 17.5
    file = tmp_path / "lease.json"
    file.write_text(file.read_text().replace(one._boot, "another boot"))
    assert Machine(reactor, tmp_path).read() is None
    file.write_text("{")
    assert Machine(reactor, tmp_path).read() is None
    assert one.elapsed() <= one.elapsed()
