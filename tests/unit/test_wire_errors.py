from autobahn.wamp.exception import ApplicationError

from controlplane.errors import NotAuthorized
from controlplane.wire_errors import from_application_error


def test_what_the_router_refuses_is_said_in_our_words():
    said = (
        'session (session_id=6960511901698845, authid="ann", authrole="operator") is not authorized to call procedure '
        '"controlplane.user.list_users" on realm "default"'
    )
    problem = from_application_error(ApplicationError(NotAuthorized.uri, said), "controlplane.user.list_users")
    assert isinstance(problem, NotAuthorized)
    assert problem.message == "the role 'operator' may not call controlplane.user.list_users"
    assert problem.next_step


def test_what_the_master_refuses_is_said_in_its_own_words():
    sent = ApplicationError(NotAuthorized.uri, "ann may not (ask ben)", next_step="ask ben")
    problem = from_application_error(sent, "controlplane.user.list_users")
    assert (type(problem), problem.message, problem.next_step) == (NotAuthorized, "ann may not", "ask ben")
